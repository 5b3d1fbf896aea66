#include "alba/asd_link.h"

#include <errno.h>
#include <string.h>

#include "alba/verb.h"
#include "wire/asd_msg.h"

enum { ATTEMPT_DELAY_MS = 1000, ATTEMPTS_MAX = 1000 };

static int find_osd(struct asd_link *l, const char *long_id,
                    struct net_addr addrs[REGISTRY_OSD_IPS_MAX], struct asd_client_options *options)
{
    struct cli *cli = l->cli;
    const struct registry_osd *osd;
    int rc;

    if (long_id == NULL) {
        return err_say(&cli->err, -EINVAL, "--long-id is needed; see alba list-all-osds");
    }
    rc = session_open_registry(&l->s, cli->config);
    if (rc != 0) {
        return session_fail_mgr(&l->s, cli, MGR_UNKNOWN);
    }
    osd = session_find_osd(&l->s, cli, long_id);
    return osd != NULL ? registry_osd_client_options(osd, addrs, options, &cli->err)
                       : cli->err.code;
}

int asd_link_open(struct asd_link *l, struct cli *cli)
{
    struct asd_client_options options = {.long_id = cli_option(cli, "long-id")};
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    int64_t port;
    int rc;

    *l = (struct asd_link){.cli = cli};
    session_init(&l->s);
    rc = session_take_options(&l->s, cli);
    rc = rc != 0 ? rc : cli_number(cli, "attempts", 1, ATTEMPTS_MAX, &l->attempts);
    if (rc != 0) {
        return rc;
    }
    if (cli->verb->wants_registry) {
        rc = find_osd(l, options.long_id, addrs, &options);
    } else {
        rc = cli_number(cli, "port", 1, 65535, &port);
        rc = rc != 0
                 ? rc
                 : net_addr_tcp(&options.addr, cli_option(cli, "host"), (uint16_t)port, &cli->err);
        if (rc == 0 && l->s.tls != NULL) {
            net_addr_set_tls(&options.addr);
        }
    }
    if (rc == 0) {
        options.tls = l->s.tls;
        l->client = asd_client_new(&l->s.loop, &options);
    }
    return rc;
}

void asd_link_close(struct asd_link *l)
{
    if (l->client != NULL) {
        blocking_asd_close(&l->s.loop, l->client);
    }
    session_close(&l->s);
}

/* What can be done about it. NULL: nothing that the message does not say. */
static const char *advice(const struct cli *cli, int rc)
{
    switch (rc) {
    case UV_ECONNREFUSED:
        return cli->verb->wants_registry
                   ? "no ASD listens there; start it, or tell where it is now: alba update-osd"
                   : "no ASD listens there; start it, or give its address with -h and -p";
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
        return "is the address right?";
    case UV_ETIMEDOUT:
        return "is it an ASD that listens there, and not too busy to answer?";
    case UV_EOF:
    case UV_ECONNRESET:
        return "is it an ASD that listens there?";
    case ERR_IDENTITY:
        return "is the address right? Without --long-id any ASD is taken";
    case ERR_FULL:
        return "see alba asd-disk-usage; delete values, raise its capacity or limit, or end an "
               "asd-set-full";
    case ERR_FAILED:
        return "its disk failed: see its log";
    default:
        return NULL;
    }
}

static bool may_try_again(int rc)
{
    return rc == UV_ECONNREFUSED || rc == UV_ETIMEDOUT || rc == UV_EOF || rc == UV_ECONNRESET ||
           rc == UV_EHOSTUNREACH || rc == UV_ENETUNREACH || rc == ERR_BUSY;
}

int asd_link_fail(struct asd_link *l, const struct err *why)
{
    struct cli *cli = l->cli;
    const char *hint = advice(cli, why->code);
    int32_t code = asd_rc_of(why->code);
    bool by_asd = why->code == ERR_FULL || why->code == ERR_ASSERT_FAILED ||
                  why->code == ERR_UNKNOWN_OPERATION || why->code == ERR_REMOTE ||
                  why->code == ERR_CORRUPT || why->code == ERR_FAILED;

    cli->exception_type = by_asd ? "asd_exn" : NULL;
    cli->exception_code = by_asd ? code : 0;
    if (hint == NULL) {
        return err_copy(&cli->err, why);
    }
    return err_say(&cli->err, why->code, "%.200s (%s)", why->msg, hint);
}

int asd_link_call(struct asd_link *l, const struct asd_request *request,
                  struct asd_answer *ret_answer)
{
    struct err e;
    int rc = 0;

    for (int64_t i = 0; i < l->attempts; i++) {
        if (i != 0) {
            uv_sleep(ATTEMPT_DELAY_MS);
        }
        rc = asd_call_with(&l->s.loop, l->client, request, ASD_LINK_TIMEOUT_MS, ret_answer, &e);
        if (rc == 0 || !may_try_again(rc)) {
            break;
        }
    }
    return rc == 0 ? 0 : asd_link_fail(l, &e);
}
