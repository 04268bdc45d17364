"""ClusterInformation and KubeControllersConfiguration. Source: Calico validator.go (validateTemplate), the CRDs."""

from __future__ import annotations

from datastore.validate import Room
from datastore.validate.metadata import check_annotations

ROOM = Room(checks={"v3.Template": check_annotations}, claims={})
