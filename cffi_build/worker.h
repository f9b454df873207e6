/* What the worker says and is told. It is a program of its own that makes libxl's long calls for a process, so that they
 * overlap with those of others, and so that libxl forks a small process instead of a large one;
 * pyxen/backends/xenlight/libxl/process_workers.py is the other end. It serves until that is closed; then creates are
 * undone, and scripts that serve devices come to their end.
 *
 * Both sides send frames over a stream socket: a header, and `length` bytes. */

#ifndef PYXEN_WORKER_H
#define PYXEN_WORKER_H

#include <stdint.h>

/* To be raised with each change of what frames mean: program and extension may be of two versions of pyxen. */
#define PYXEN_PROTOCOL 1

struct pyxen_frame {
    uint32_t kind;
    uint32_t length;
    uint64_t token; /* of the job that it is about */
    uint32_t domid;
    int32_t number;
};

/* Kinds of frames to the worker */
#define PYXEN_CREATE 1    /* INVALID_DOMID; the uuid as 16 bytes, and the configuration as JSON with its NUL;
                             number: PYXEN_NAME_IS_FREE if no domain has its name, see names.h */
#define PYXEN_DESTROY 2   /* domid */
#define PYXEN_CORE_DUMP 3 /* domid, and the path with its NUL */
#define PYXEN_ABORT 4     /* the job of that token, if it still runs */
#define PYXEN_LOG_LEVEL 5 /* number: the least level of lines that are sent */
#define PYXEN_SOFT_RESET 6 /* domid, and its configuration as JSON with its NUL */
#define PYXEN_DEVD 7 /* serve the devices of this domain, until aborted; the process ends with it */
#define PYXEN_RESTORE 8 /* as PYXEN_CREATE, from the stream at PYXEN_STREAM_FD; number: libxl_checkpointed_stream,
                           and PYXEN_NAME_IS_FREE if no domain has its name */

#define PYXEN_NAME_IS_FREE 256

/* The worker's descriptors: of the socket, and of a stream where it is begun with one */
#define PYXEN_SOCKET_FD 3
#define PYXEN_STREAM_FD 4

/* Kinds of frames from it */
#define PYXEN_HELLO 16 /* it is ready; number: PYXEN_PROTOCOL, whatever else may have changed */
#define PYXEN_DONE 17  /* a job has ended: number is libxl's code, domid the domain */
#define PYXEN_NOT_BEGUN 1 /* in place of libxl's code: it cannot be created, do it yourself to see why */
#define PYXEN_LOG 18   /* a line: number is its level, token 0 unless the call of a job is under way */
#define PYXEN_CUT_OFF 19 /* it has lost xenstore: it can do no more, and what its jobs have done is not known */

#endif
