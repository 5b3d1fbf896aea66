/* A line on the terminal that says how far a long verb is. Nothing is printed when stderr is no
 * terminal. One thread. */
#ifndef ALBA_PROGRESS_H
#define ALBA_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *what;
    uint64_t total;
    bool is_bytes; /* else things are counted */

    bool on; /* private from here on */
    uint64_t start_ns;
    uint64_t shown_ns;
};

void progress_begin(struct progress *p, const char *what, uint64_t total, bool is_bytes);
void progress_show(struct progress *p, uint64_t done); /* a few times a second at most */
void progress_end(struct progress *p);                 /* takes the line away */

#endif
