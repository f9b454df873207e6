/* See watches.h. libxl's call of xs_watch is bound to this definition for the reason that names.c gives. */

#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include "watches.h"

struct refusal {
    uint32_t domid;
    int error;
};

/* What was refused to this thread and is not taken yet. Many guests may be asked before the loop comes to it. */
static __thread struct refusal *refusals;
static __thread int nrefusals;

int pyxen_refused_watch(uint32_t *domid)
{
    struct refusal refusal;

    if (!nrefusals)
        return 0;
    refusal = refusals[--nrefusals];
    if (!nrefusals) {
        free(refusals);
        refusals = NULL;
    }
    *domid = refusal.domid;
    return refusal.error;
}

/* Returns whether there was memory for it. */
static bool note(uint32_t domid, int error)
{
    struct refusal *grown = realloc(refusals, (nrefusals + 1) * sizeof *grown);

    if (!grown)
        return false;
    refusals = grown;
    refusals[nrefusals++] = (struct refusal){ .domid = domid, .error = error };
    return true;
}

/* Returns whether a path is that of a guest's answer, and sets its domid. Newer C libraries have a sscanf of their own,
 * which those of the systems that a wheel is for lack. */
static bool is_for_an_answer(const char *path, uint32_t *domid)
{
    static const char before[] = "/local/domain/";
    const char *at = path + sizeof before - 1;

    if (strncmp(path, before, sizeof before - 1) || !isdigit((unsigned char)*at))
        return false;
    for (*domid = 0; isdigit((unsigned char)*at); at++)
        *domid = 10 * *domid + (*at - '0');
    return !strcmp(at, "/control/shutdown");
}

__attribute__((visibility("default"))) /* also with -fvisibility=hidden */
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
    /* Without memory for a note it is refused; libxl ends its process anyway if it gets none. */
    if (is_for_an_answer(path, &domid) && note(domid, error ? error : EIO))
        return true;
    errno = error;
    return false;
}
