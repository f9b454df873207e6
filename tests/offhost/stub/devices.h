/* What the kernel of dom0 does for Xen's libraries. All of it is for whoever does not hold the lock. */
#ifndef DEVICES_H
#define DEVICES_H

#include "world.h"

/* Makes of a new descriptor of /dev/xen/evtchn a FIFO of its own; the descriptor, or -1. */
int events_opened(int fd);
/* Notes that what a descriptor sends and receives is xenstore's. */
void xenstore_connected(int fd);
/* As count_call. */
int count_now(enum class class, unsigned op, int domid);

#endif
