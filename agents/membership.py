"""Being a member of the group of workers."""

#: Seconds without a fetch after which aiokafka leaves the group. Faust's consumer fetches nothing
#: while all that it is assigned is changelogs, and is none the worse for it.
NO_FETCH = 1e8
