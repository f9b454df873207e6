/* See names.h.
 *
 * libxl asks itself through a function that it exports, as other programs would ask it, so the linker binds its call to
 * the first definition of that name: to this one, since libxl is loaded for this module. Where libxl is loaded
 * otherwise, it finds its own, and all is as it was without this. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <libxl.h>
#include <libxl_utils.h>

#include "names.h"

static __thread const char *free_name;

void pyxen_name_is_free(const char *name)
{
    free_name = name;
}

__attribute__((visibility("default"))) /* also with -fvisibility=hidden */
int libxl_name_to_domid(libxl_ctx *ctx, const char *name, uint32_t *domid)
{
    static int (*libxls_own)(libxl_ctx *, const char *, uint32_t *);

    if (free_name && !strcmp(name, free_name))
        return ERROR_INVAL; /* as libxl says that there is none */
    if (!libxls_own)
        libxls_own = (int (*)(libxl_ctx *, const char *, uint32_t *))dlsym(RTLD_NEXT, "libxl_name_to_domid");
    return libxls_own ? libxls_own(ctx, name, domid) : ERROR_FAIL;
}
