/* What cffi cannot express: a callback with a va_list, an offset in a structure that not all machines have, and
 * functions that not all releases of Xen have. */

#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenctrl.h>

#include "shim.h"

/* Longer lines are cut: libxl's longest are paths and JSON fragments. */
#define LINE_LENGTH 4096

struct logger {
    xentoollog_logger vtable; /* first, so that a logger is an xentoollog_logger */
    void *owner;
    int min_level;
    pid_t pid;
};

/* A child that libxl forked must never enter Python: nobody there holds, or will ever release, the GIL. */
static int in_child(const struct logger *logger)
{
    return getpid() != logger->pid;
}

static void vmessage(xentoollog_logger *base, xentoollog_level level, int errnoval,
                     const char *context, const char *format, va_list arguments)
{
    struct logger *logger = (struct logger *)base;
    int saved = errno;
    char line[LINE_LENGTH];

    if ((int)level < logger->min_level || in_child(logger))
        return;
    vsnprintf(line, sizeof line, format, arguments);
    pyxen_on_log(logger->owner, level, errnoval, context, line);
    errno = saved;
}

static void progress(xentoollog_logger *base, const char *context, const char *what,
                     int percent, unsigned long done, unsigned long total)
{
    struct logger *logger = (struct logger *)base;
    int saved = errno;

    (void)context;
    if (in_child(logger))
        return;
    pyxen_on_progress(logger->owner, what, percent, done, total);
    errno = saved;
}

static void destroy(xentoollog_logger *base)
{
    free(base);
}

xentoollog_logger *pyxen_logger_new(void *owner, int min_level)
{
    struct logger *logger = calloc(1, sizeof *logger);

    if (!logger)
        return NULL;
    logger->vtable.vmessage = vmessage;
    logger->vtable.progress = progress;
    logger->vtable.destroy = destroy;
    logger->owner = owner;
    logger->min_level = min_level;
    logger->pid = getpid();
    return &logger->vtable;
}

void pyxen_logger_set_level(xentoollog_logger *logger, int min_level)
{
    ((struct logger *)logger)->min_level = min_level;
}

void pyxen_logger_free(xentoollog_logger *logger)
{
    xtl_logger_destroy(logger);
}

long pyxen_emulation_flags_offset(void)
{
#if defined(__i386__) || defined(__x86_64__)
    return offsetof(xc_domaininfo_t, arch_config.emulation_flags);
#else
    return -1;
#endif
}

#ifdef XENVER_extraversion2 /* a release with texts of any length */

char *pyxen_xen_text(xc_interface *xch, int which)
{
    switch (which) {
    case PYXEN_EXTRAVERSION:
        return xc_xenver_extraversion(xch);
    case PYXEN_CAPABILITIES:
        return xc_xenver_capabilities(xch);
    case PYXEN_CHANGESET:
        return xc_xenver_changeset(xch);
    case PYXEN_COMMANDLINE:
        return xc_xenver_commandline(xch);
    default:
        return xc_xenver_buildid(xch);
    }
}

#else

/* xc_version expects the whole room of each text. */
#define ROOM 1024

static char *build_id(xc_interface *xch)
{
    union {
        xen_build_id_t id;
        char room[ROOM];
    } answer = { .id.len = ROOM - sizeof(xen_build_id_t) };
    int length = xc_version(xch, XENVER_build_id, &answer);
    char *text = length < 0 ? NULL : calloc(2, length + 1);

    for (int i = 0; text && i < length; i++)
        sprintf(text + 2 * i, "%02x", answer.id.buf[i]);
    return text;
}

char *pyxen_xen_text(xc_interface *xch, int which)
{
    static const int commands[] = { XENVER_extraversion, XENVER_capabilities, XENVER_changeset, XENVER_commandline };
    char room[ROOM] = "";

    if (which == PYXEN_BUILD_ID)
        return build_id(xch);
    if (xc_version(xch, commands[which], room) < 0)
        return NULL;
    room[ROOM - 1] = 0;
    return strdup(room);
}

#endif

int pyxen_take_back_shutdown(xc_interface *xch, uint32_t domid)
{
    struct xen_domctl call = {
        .cmd = XEN_DOMCTL_resumedomain,
        .interface_version = XEN_DOMCTL_INTERFACE_VERSION,
        .domain = domid,
    };

    return xc_domctl(xch, &call);
}
