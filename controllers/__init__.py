"""Cleans up behind nodes and pods that are gone: the job of Calico's kube-controllers.

Facts are followed (:mod:`controllers.clerk`), judged without I/O (:mod:`controllers.evidence`,
:mod:`controllers.findings`), remembered with the time since when they have looked so (:mod:`controllers.docket`), and
acted on by one replica (:mod:`controllers.leader`) after a last look at the datastore (:mod:`controllers.collector`).
"""
