/* A watch of libxl's that xenstored refuses, where libxl would crash on that.
 *
 * To ask a guest to shut down, to reboot or to suspend, libxl writes to control/shutdown and watches for the answer. If
 * it gets no watch, it gives one up that it never had: it takes the slot of another one, and calls xs_unwatch with NULL.
 * So it is told that it has this watch. It then waits for an answer, which it can be made to stop. A save or a migration
 * asks its guest long after it has begun, so the loop takes what was refused (loop.h). */

#ifndef PYXEN_WATCHES_H
#define PYXEN_WATCHES_H

#include <stdint.h>

/* Returns the errno with which such a watch was refused to this thread, and sets the guest's domid; 0 if none was. Then
 * it is forgotten, and the next call tells of another one. */
int pyxen_refused_watch(uint32_t *domid);

#endif
