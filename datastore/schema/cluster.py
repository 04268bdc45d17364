"""ClusterInformation, KubeControllersConfiguration, and the Lease of those who run as several replicas.

Source: Calico api v3 clusterinfo.go, kubecontrollersconfig.go; Kubernetes api coordination/v1 types.go.
"""

from __future__ import annotations

from datastore.schema.metadata import document
from datastore.schema.notation import (
    always,
    boolean,
    each,
    enum,
    filled,
    free_duration,
    given,
    mapping,
    number,
    string,
    struct,
    text,
)

ClusterInformationSpec = struct(
    "v3.ClusterInformationSpec",
    filled("clusterGUID", string),
    filled("clusterType", string),
    filled("calicoVersion", string),
    given("datastoreReady", boolean),
    filled("variant", string),
)
ClusterInformation = document("v3.ClusterInformation", always("spec", ClusterInformationSpec))
Template = struct(
    "v3.Template",
    filled("generateName", text(longest=253), check="omitempty,name"),
    filled("interfaceCIDRs", each(string), check="cidrs"),
    filled("interfacePattern", string, check="omitempty,regexp"),
    filled("labels", mapping(string), check="omitempty,labels"),
    filled("annotations", mapping(string)),
    filled("nodeSelector", string, check="omitempty,selector"),
)
AutoHostEndpointConfig = struct(
    "v3.AutoHostEndpointConfig",
    filled("autoCreate", enum("string", "Enabled", "Disabled"), check="omitempty,oneof=Enabled Disabled"),
    filled(
        "createDefaultHostEndpoint", text("v3.DefaultHostEndpointMode"), check="omitempty,createDefaultHostEndpoint"
    ),
    filled("templates", each(Template), check="omitempty,dive"),
)
NodeControllerConfig = struct(
    "v3.NodeControllerConfig",
    given("reconcilerPeriod", free_duration),
    filled("syncLabels", enum("string", "Enabled", "Disabled"), check="omitempty,oneof=Enabled Disabled"),
    given("hostEndpoint", AutoHostEndpointConfig),
    given("leakGracePeriod", free_duration),
)
PolicyControllerConfig = struct(
    "v3.PolicyControllerConfig",
    given("reconcilerPeriod", free_duration),
)
WorkloadEndpointControllerConfig = struct(
    "v3.WorkloadEndpointControllerConfig",
    given("reconcilerPeriod", free_duration),
)
ServiceAccountControllerConfig = struct(
    "v3.ServiceAccountControllerConfig",
    given("reconcilerPeriod", free_duration),
)
NamespaceControllerConfig = struct(
    "v3.NamespaceControllerConfig",
    given("reconcilerPeriod", free_duration),
)
LoadBalancerControllerConfig = struct(
    "v3.LoadBalancerControllerConfig",
    filled("assignIPs", enum("v3.AssignIPs", "AllServices", "RequestedServicesOnly"), default="AllServices"),
)
MigrationControllerConfig = struct(
    "v3.MigrationControllerConfig",
    filled(
        "policyNameMigrator",
        enum("v3.ControllerMode", "Disabled", "Enabled"),
        check="omitempty,oneof=Enabled Disabled",
        default="Enabled",
    ),
)
ControllersConfig = struct(
    "v3.ControllersConfig",
    given("node", NodeControllerConfig),
    given("policy", PolicyControllerConfig),
    given("workloadEndpoint", WorkloadEndpointControllerConfig),
    given("serviceAccount", ServiceAccountControllerConfig),
    given("namespace", NamespaceControllerConfig),
    given("loadBalancer", LoadBalancerControllerConfig),
    given("migration", MigrationControllerConfig),
)
KubeControllersConfigurationSpec = struct(
    "v3.KubeControllersConfigurationSpec",
    filled("logSeverityScreen", enum("string", "None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic")),
    filled(
        "healthChecks",
        enum("string", "Enabled", "Disabled"),
        check="omitempty,oneof=Enabled Disabled",
        default="Enabled",
    ),
    given("etcdV3CompactionPeriod", free_duration),
    given("prometheusMetricsPort", number(low=0, high=65535)),
    always("controllers", ControllersConfig),
    given("debugProfilePort", number("int32", low=0, high=65535)),
)
KubeControllersConfigurationStatus = struct(
    "v3.KubeControllersConfigurationStatus",
    given("runningConfig", KubeControllersConfigurationSpec),
    filled("environmentVars", mapping(string)),
)
KubeControllersConfiguration = document(
    "v3.KubeControllersConfiguration",
    always("spec", KubeControllersConfigurationSpec),
    always("status", KubeControllersConfigurationStatus),
)
LeaseSpec = struct(
    "v1.LeaseSpec",
    filled("holderIdentity", string),
    filled("leaseDurationSeconds", number("int32")),
    filled("acquireTime", string),
    filled("renewTime", string),
    filled("leaseTransitions", number("int32")),
)
Lease = document("v1.Lease", always("spec", LeaseSpec))
