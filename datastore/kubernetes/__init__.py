"""The datastore that is a Kubernetes API server: Calico's objects as custom resources, and as parts of Nodes and Pods.

``store`` implements :class:`datastore.store.Store`; ``client`` is the only door to the network and to files. Which
object becomes which document, what a server's refusal means and where the server is are decided in pure modules
beside them.
"""
