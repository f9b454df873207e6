/* What a sweep makes fail; all of it is for whoever does not hold the lock. */
#ifndef FAULTS_H
#define FAULTS_H

#include "world.h" /* first, for _GNU_SOURCE */

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Whether a call that needs a new descriptor, thread or process fails now; errno is set then. */
bool denied(const char *what);
/* Whether a call that reads or writes fails now, since it is about a file of the host's; errno is set then. */
bool file_fails(int fd, const char *what);

/* A new conversation with xenstored begins. */
void conversation_begins(int fd);
/* Sends what a client says to xenstored: as it is, changed, or not at all. */
ssize_t conversation_send(int fd, const struct iovec *pieces, int count, int flags);
/* The C library's own. */
ssize_t real_sendmsg(int fd, const struct msghdr *message, int flags);
/* Changes what has come from xenstored, as long as what was refused there was refused by a sweep. */
void conversation_heard(void *data, ssize_t size);

#endif
