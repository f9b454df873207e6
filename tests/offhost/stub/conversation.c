/* What a client of xenstored says and hears: a sweep makes one of its requests fail, and xenstored is none the wiser. */
#include "faults.h"

#include <sys/socket.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

enum { DESCRIPTORS = 4096, NO_REQUEST = 0x7fff0000 };

/* How far the message has come that is being sent over a descriptor. */
static struct {
    union {
        struct xsd_sockmsg header;
        uint8_t bytes[sizeof(struct xsd_sockmsg)];
    };
    unsigned have;
    uint32_t body; /* bytes to come */
    bool torn;     /* the body shall not be sent */
} sent[DESCRIPTORS];

static bool refused; /* something of this process is to be refused by xenstored */

/* What xenstored says to a request that there is not. What is said instead is as long, as all of these are. */
static const char no_request[] = "ENOSYS";

void conversation_begins(int fd)
{
    memset(&sent[fd], 0, sizeof sent[fd]);
}

static const char *word(int error)
{
    switch (error) {
    case EAGAIN:
        return "EAGAIN";
    case ENOSPC:
        return "ENOSPC";
    case EACCES:
        return "EACCES";
    case ENOMEM:
        return "ENOMEM";
    default:
        unanswered("a sweep with an error that xenstored does not say", (unsigned long)error, 0);
    }
}

void conversation_heard(void *data, ssize_t size)
{
    char *found;

    if (!refused || size < (ssize_t)sizeof no_request)
        return;
    found = memmem(data, (size_t)size, no_request, sizeof no_request);
    if (found)
        memcpy(found, word(world->sweep.error), sizeof no_request);
}

/* Takes bytes of what is to be sent into account; -1 with errno if they shall not be. A header begins at its first. */
static int look(int fd, uint8_t *data, size_t size)
{
    for (size_t at = 0, part; at < size; at += part) {
        if (sent[fd].body) {
            if (sent[fd].torn) {
                sent[fd].torn = false;
                errno = world->sweep.error;
                return -1;
            }
            part = size - at < sent[fd].body ? size - at : sent[fd].body;
            sent[fd].body -= (uint32_t)part;
            continue;
        }
        part = sizeof sent[fd].bytes - sent[fd].have;
        part = size - at < part ? size - at : part;
        struct xsd_sockmsg *header = (void *)(data + at);
        if (!sent[fd].have && part == sizeof sent[fd].bytes && fault(REQUESTS, NULL)) {
            snprintf(world->sweep.what, sizeof world->sweep.what, "request %u", header->type);
            errno = world->sweep.error;
            if (world->sweep.how == FAIL)
                return -1;
            if (world->sweep.how == CUT)
                shutdown(fd, SHUT_RDWR);
            sent[fd].torn = world->sweep.how == TEAR;
            if ((refused = world->sweep.how == DENY))
                header->type = NO_REQUEST;
        }
        memcpy(sent[fd].bytes + sent[fd].have, data + at, part);
        sent[fd].have += (unsigned)part;
        if (sent[fd].have == sizeof sent[fd].bytes) {
            sent[fd].have = 0;
            sent[fd].body = sent[fd].header.len;
        }
    }
    return 0;
}

ssize_t conversation_send(int fd, const struct iovec *pieces, int count, int flags)
{
    size_t size = 0, at = 0;

    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    uint8_t data[size + 1];
    for (int i = 0; i < count; at += pieces[i++].iov_len)
        memcpy(data + at, pieces[i].iov_base, pieces[i].iov_len);
    if (look(fd, data, size))
        return -1;
    /* All of it, or what has been looked at would come once more. */
    for (at = 0; at < size;) {
        struct iovec rest = { data + at, size - at };
        struct msghdr message = { .msg_iov = &rest, .msg_iovlen = 1 };
        ssize_t now = real_sendmsg(fd, &message, flags & ~MSG_DONTWAIT);

        if (now < 0 && errno != EINTR && errno != EAGAIN)
            return -1;
        at += now < 0 ? 0 : (size_t)now;
    }
    return (ssize_t)size;
}
