/* Starting a thread of a daemon. */
#ifndef LOOP_THREAD_H
#define LOOP_THREAD_H

#include <pthread.h>

/* The thread takes no signals: those are for the one that started the program. 0, or a negative
 * errno. */
int loop_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

#endif
