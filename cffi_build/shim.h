/* The few lines of C between libxl and Python. What cffi can do is done in Python; see shim.c for what it cannot. */

#ifndef PYXEN_SHIM_H
#define PYXEN_SHIM_H

#include <sys/types.h>
#include <xenctrl.h>
#include <xentoollog.h>
#include <libxl_event.h>

/* A logger that hands formatted lines to Python. `owner` comes back with each line. */
xentoollog_logger *pyxen_logger_new(void *owner, int min_level);
void pyxen_logger_set_level(xentoollog_logger *logger, int min_level);
void pyxen_logger_free(xentoollog_logger *logger);

/* Where in an xc_domaininfo_t the emulated devices stand, of which a PVH guest has next to none and an HVM guest all;
 * -1 on an architecture without HVM guests. */
long pyxen_emulation_flags_offset(void);

/* What Xen says of itself. The caller frees it; NULL with errno if Xen refuses. The build id is in hexadecimal. */
#define PYXEN_EXTRAVERSION 0
#define PYXEN_CAPABILITIES 1
#define PYXEN_CHANGESET 2
#define PYXEN_COMMANDLINE 3
#define PYXEN_BUILD_ID 4
char *pyxen_xen_text(xc_interface *xch, int which);

/* Have Xen take back the shutdown of a domain, also one that is still to happen. Returns 0, or -1 with errno. */
int pyxen_take_back_shutdown(xc_interface *xch, uint32_t domid);

/* Called by libxl through the above; written in Python (pyxen/backends/xenlight/libxl/log.py and context.py). */
void pyxen_on_log(void *owner, int level, int errnoval, const char *context, const char *line);
void pyxen_on_progress(void *owner, const char *what, int percent, unsigned long done, unsigned long total);
void pyxen_on_disaster(void *user, libxl_event_type type, const char *message, int errnoval);

#endif
