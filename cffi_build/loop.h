/* The inner loop of the event loop (pyxen/backends/xenlight/libxl/event_loop.py), and the lock around libxl. */

#ifndef PYXEN_LOOP_H
#define PYXEN_LOOP_H

#include <stdint.h>
#include <sys/types.h>
#include <libxl.h>

/* Held during every call of libxl; pyxen/backends/xenlight/libxl/lock.py says why. */
void pyxen_lock(void);
void pyxen_unlock(void);
int pyxen_locked(void);
/* Since how many ms a thread (by pthread_self) has the lock; -1 if it does not have it. Takes no lock. */
int64_t pyxen_lock_held(unsigned long thread);

/* libxl_ctx_alloc and libxl_ctx_free, under the lock: a caller's thread may be interrupted between any two lines of
 * Python, but not in here. */
int pyxen_ctx_alloc(libxl_ctx **ctx, xentoollog_logger *logger);
void pyxen_ctx_free(libxl_ctx *ctx);

/* Returns whether a context has lost its connection to xenstore: libxl never opens another one, and nothing works any
 * more. Asks xenstored, under the caller's lock; libxl may log an error. */
int pyxen_ctx_is_cut_off(libxl_ctx *ctx);

/* What a context waits for: its own descriptors and times, its children, and `wake`, an eventfd for other threads. The
 * logger takes what the loop itself has to say. */
struct pyxen_loop;
struct pyxen_loop *pyxen_loop_new(int wake, xentoollog_logger *logger);
void pyxen_loop_free(struct pyxen_loop *loop);

/* Watch another descriptor too; `events` as for poll, 0 to stop. Only between waits, on the thread that waits.
 * Returns 0 or -errno. */
int pyxen_loop_watch(struct pyxen_loop *loop, int fd, int events);

#define PYXEN_READY 0 /* type of the event that says that a descriptor is ready, which is the token then */
/* Type of the event that says that xenstored has refused a watch for a guest's answer (watches.h), with `code` as its
 * errno. */
#define PYXEN_REFUSED (-1)

struct pyxen_event {
    uint64_t token; /* for_user */
    int type;       /* libxl's, or one of the two above */
    uint32_t domid;
    int code; /* of an operation that is complete, or an errno */
};

/* Wait until libxl has events, a watched descriptor is ready, `wake` is written to, or the time is over (in ms; -1 is
 * never). Without a context (NULL), libxl is not waited for. Returns how many events there are, 0 for the other two, or
 * -errno. */
int pyxen_loop_wait(struct pyxen_loop *loop, libxl_ctx *ctx, int timeout, struct pyxen_event *events, int most);

/* Let a descriptor that libxl writes to lead to a file once libxl starts a process, and its position is `size`: what is
 * before it is then written to the file. libxl crashes if it cannot write the beginning of a stream, and starts the
 * process that writes the rest right behind that. For a memfd, and at most 64 bytes. Returns 0 or -errno. */
int pyxen_loop_shelter(struct pyxen_loop *loop, int fd, int file, int size);
/* End it. Returns -errno if the beginning could not be written, else 0. */
int pyxen_loop_end_shelter(struct pyxen_loop *loop, int fd);

/* Returns how many children of libxl's run. */
int pyxen_loop_children(const struct pyxen_loop *loop);

/* For libxl_childproc_hooks.fork_replacement; `user` is a struct pyxen_loop. */
pid_t pyxen_fork(void *user);

#endif
