#include "alba/interrupt.h"

#include <signal.h>

#include "alba/target.h"
#include "base/check.h"

static void on_client_closed(void *ctx)
{
    (void)ctx;
}

/* A proxy may be killed at any time, so a private one is; with the client its calls end. */
static void on_signal(uv_signal_t *handle, int signum)
{
    struct interrupt *i = handle->data;
    struct target *t = i->t;

    (void)signum;
    i->happened = true;
    if (t->proxy.pid > 0) {
        kill(t->proxy.pid, SIGKILL);
    }
    if (t->s.proxy != NULL) {
        proxy_client_close(t->s.proxy, on_client_closed, NULL);
        t->s.proxy = NULL;
    }
}

void interrupt_begin(struct interrupt *i, struct target *t)
{
    static const int numbers[] = {SIGINT, SIGTERM};

    *i = (struct interrupt){.t = t, .open = 2};
    for (unsigned n = 0; n < 2; n++) {
        CHECK(uv_signal_init(&t->s.loop, &i->signals[n]) == 0);
        i->signals[n].data = i;
        CHECK(uv_signal_start(&i->signals[n], on_signal, numbers[n]) == 0);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct interrupt *i = handle->data;

    if (--i->open == 0) {
        session_done(&i->t->s, 0, NULL);
    }
}

void interrupt_end(struct interrupt *i)
{
    for (unsigned n = 0; n < 2; n++) {
        uv_close((uv_handle_t *)&i->signals[n], on_closed);
    }
    session_wait(&i->t->s);
}
