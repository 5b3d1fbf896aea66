/* start -> a client and a call for each proxy -> on_answer -> all clients closed -> done. */
#include "albacore/greet.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "net/proxy_client.h"
#include "wire/gather.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_request.h"

enum { GREET_CONNECT_MS = 5000, GREET_ANSWER_MS = 10000 };

struct greeting { /* of one proxy */
    struct greet *greet;
    struct proxy_client *proxy;
    struct gather request;
    struct proxy_call call; /* its err and proxy_code stay */
    int rc;
    bool closing;
};

struct greet {
    struct job job;
    const struct net_addr *proxies;
    unsigned count, open;
    bool is_answered;
    struct greeting greetings[PROXY_CLIENT_ENDPOINTS_MAX];
};

static void on_closed(void *ctx)
{
    struct greeting *g = ctx;
    struct greet *greet = g->greet;

    gather_release(&g->request);
    if (--greet->open == 0) {
        job_done(&greet->job, greet->is_answered ? 0 : g->rc, &g->call.err, g->call.proxy_code);
    }
}

static void end(struct greeting *g)
{
    if (!g->closing) {
        g->closing = true;
        proxy_client_close(g->proxy, on_closed, g);
    }
}

static void on_answer(struct proxy_call *call, int rc)
{
    struct greeting *g = container_of(call, struct greeting, call);
    struct greet *greet = g->greet;

    g->rc = rc;
    end(g);
    if (rc == 0) { /* one will do */
        greet->is_answered = true;
        for (unsigned i = 0; i < greet->count; i++) {
            end(&greet->greetings[i]);
        }
    }
}

static void start(struct job *job)
{
    struct greet *greet = container_of(job, struct greet, job);
    struct albacore *client = job->client;
    unsigned answer_ms =
        client->timeout_ms < GREET_ANSWER_MS ? client->timeout_ms : GREET_ANSWER_MS;

    greet->open = greet->count;
    for (unsigned i = 0; i < greet->count; i++) {
        struct greeting *g = &greet->greetings[i];
        struct proxy_client_options options = {.endpoints = &greet->proxies[i],
                                               .endpoint_count = 1,
                                               .connections_max = 1,
                                               .connect_timeout_ms = GREET_CONNECT_MS,
                                               .tls = client->tls};

        g->greet = greet;
        g->proxy = proxy_client_new(&client->loop, &options);
        proxy_request_encode(&(struct proxy_request){.code = PROXY_GET_ALBA_ID}, &g->request);
        CHECK(proxy_client_call(g->proxy, &g->call, &g->request, answer_ms, on_answer) == 0);
    }
}

static int code_of_greeting(const struct greeting *g)
{
    return error_set(NULL, g->rc, &g->call.err, g->call.proxy_code);
}

/* "no proxy answers: CAUSE; CAUSE; 3 more" */
static int say_why(const struct greet *greet, struct albacore_error *e)
{
    enum { MORE_BYTES = sizeof("; 15 more") };
    char text[ALBACORE_TEXT_BYTES];
    int code = code_of_greeting(&greet->greetings[0]);
    size_t len = (size_t)snprintf(text, sizeof(text), "no proxy answers");

    for (unsigned i = 0; i < greet->count; i++) {
        const struct greeting *g = &greet->greetings[i];
        size_t bytes = strlen(g->call.err.msg) + 2;

        if (len + bytes + (i + 1 < greet->count ? MORE_BYTES : 1) > sizeof(text)) {
            snprintf(text + len, sizeof(text) - len, "; %u more", greet->count - i);
            break;
        }
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i == 0 ? ": " : "; ",
                                g->call.err.msg);
    }
    for (unsigned i = 1; i < greet->count; i++) {
        code = code_of_greeting(&greet->greetings[i]) == code ? code : ALBACORE_UNREACHABLE;
    }
    return error_say(e, code, "%s", text);
}

int greet_run(struct albacore *client, const struct net_addr *proxies, unsigned count,
              struct albacore_error *e)
{
    struct greet greet = {.job = {.start = start}, .proxies = proxies, .count = count};

    return job_run(client, &greet.job, NULL, NULL) == 0 ? 0 : say_why(&greet, e);
}
