#include "loop/thread.h"

#include <signal.h>

#include "base/check.h"

int loop_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    rc = -pthread_create(ret_thread, NULL, run, arg);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    return rc;
}
