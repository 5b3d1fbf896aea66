/* An alba-asd of the test's own: a process, a home under the temporary directory, a port. */
#ifndef TESTS_UNIT_META_ASD_PROCESS_H
#define TESTS_UNIT_META_ASD_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

struct asd_process {
    const char *slab_size; /* "1MiB"; set before the start; NULL: the default */
    char *dir;
    pid_t pid; /* 0: not running */
    uint16_t port;
    char url[64]; /* asd://127.0.0.1:port */
};

/* Starts it and waits until it serves; a failure ends the test. Again after a kill: the same
 * home, the same port. `asd_id` names it (NULL: it finds a name). */
void asd_process_start(struct asd_process *asd, const char *asd_id);
/* SIGSTOP, and wait until every thread stands still: until then some still answer. */
void asd_process_stop(struct asd_process *asd);
/* SIGKILL, and wait until it is gone. */
void asd_process_kill(struct asd_process *asd);
/* Kill, and remove the home. */
void asd_process_remove(struct asd_process *asd);

#endif
