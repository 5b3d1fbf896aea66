/* Where the daemons' programs are: beside the `alba` that runs. One thread. */
#ifndef ALBA_DAEMONS_H
#define ALBA_DAEMONS_H

#include "base/err.h"

/* Path of a program installed beside this one, freshly allocated; NULL and *e when it
 * is not there. */
char *daemons_path(const char *program, struct err *e);

#endif
