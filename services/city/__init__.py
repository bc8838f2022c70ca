"""`synchronia up`: a whole city on one machine, one process a service, watched over.

In: options, a state directory, `seeds/`. Out: a nats-server, the services of `shared.subjects`, the
scripted citizens; one line `ready http://…` once a sample has been through the whole pipeline.
State held: the child processes, the lock on the state directory, the bootstrap key.
It never joins the pipeline, sees no sample but its own probe's, and imports no service: they are
started by name, each with the path of its own key only.
"""
