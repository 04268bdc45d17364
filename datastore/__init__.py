"""Resources and compare-and-swap storage. Imports nothing of ours; everything else imports this.

What is stored is a :class:`~datastore.resource.Resource`: a document as upstream has it, unknown fields included.
What the program reads are the typed values of :mod:`datastore.resources`, made by :mod:`datastore.codec`.
How it is stored is the business of one driver a file, behind the protocol of :mod:`datastore.store`.
"""
