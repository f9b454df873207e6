/* See watches.h. libxl's call of xs_watch is bound to this definition for the reason that names.c gives. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <xenstore.h>

#include "watches.h"

static __thread int refused;
static __thread uint32_t refused_of;

int pyxen_refused_watch(uint32_t *domid)
{
    int error = refused;

    refused = 0;
    *domid = refused_of;
    return error;
}

/* Returns whether a path is that of a guest's answer, and sets its domid. */
static bool is_for_an_answer(const char *path, uint32_t *domid)
{
    int length = 0;

    return sscanf(path, "/local/domain/%" SCNu32 "/control/shutdown%n", domid, &length) == 1 && length && !path[length];
}

bool xs_watch(struct xs_handle *store, const char *path, const char *token)
{
    static bool (*its_own)(struct xs_handle *, const char *, const char *);
    uint32_t domid;
    int error;

    if (!its_own)
        its_own = (bool (*)(struct xs_handle *, const char *, const char *))dlsym(RTLD_NEXT, "xs_watch");
    errno = ENOSYS;
    if (its_own && its_own(store, path, token))
        return true;
    error = errno;
    if (!is_for_an_answer(path, &domid)) {
        errno = error;
        return false;
    }
    refused = error ? error : EIO;
    refused_of = domid;
    return true;
}
