/* The known name that somebody who mistyped one probably meant. Any thread. */
#ifndef DAEMON_NEAREST_H
#define DAEMON_NEAREST_H

struct nearest {
    const char *best; /* of those offered so far; NULL: none comes close */
    unsigned distance;
};

/* Begin with {0}; offer every candidate. */
void nearest_offer(struct nearest *nearest, const char *typed, const char *candidate);

#endif
