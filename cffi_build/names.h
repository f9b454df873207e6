/* A short cut for libxl's question whether a domain has a certain name.
 *
 * Before libxl names a domain, it looks for another one with that name: it lists all domains, and reads the name of each
 * from xenstore, one after the other. So a create takes longer, the more domains there are. pyxen keeps the names of all
 * domains, and is told by xenstore when one changes, so it knows the answer. */

#ifndef PYXEN_NAMES_H
#define PYXEN_NAMES_H

/* Say that no domain has this name, until this thread says something else; NULL: nothing is said. The text must stay. */
void pyxen_name_is_free(const char *name);

#endif
