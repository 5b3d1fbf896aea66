/* Ctrl-C and SIGTERM end the call to the proxy that is under way, whether or not it ever answers.
 * One thread. */
#ifndef ALBA_INTERRUPT_H
#define ALBA_INTERRUPT_H

#include <stdbool.h>

#include <uv.h>

struct target;

struct interrupt {
    bool happened; /* call the target no more */

    struct target *t; /* private from here on; borrowed */
    uv_signal_t signals[2];
    unsigned open;
};

/* From here to interrupt_end() a signal does nothing else; *i stays where it is. */
void interrupt_begin(struct interrupt *i, struct target *t);
void interrupt_end(struct interrupt *i);

#endif
