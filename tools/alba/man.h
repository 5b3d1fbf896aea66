/* The manual page alba(1), made from the verb table. */
#ifndef ALBA_MAN_H
#define ALBA_MAN_H

#include <stdio.h>

/* roff, for man(1). */
void man_page(FILE *out);

#endif
