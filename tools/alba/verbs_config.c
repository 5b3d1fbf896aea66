/* Verbs about how a deployment is found and about messages, and those of a closed edition. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "meta/kv.h"

/* What --config leads to. */
static int run_extract(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        cli->result =
            json_pack("{s:s, s:s}", "cluster_id", registry_view_alba_id(registry_view(s.registry)),
                      "url", kv_url(s.kv));
    }
    session_close(&s);
    return rc;
}

/* An ini file, as its readers expect, of what there is. */
static void show_extract(const struct cli *cli)
{
    printf("[global]\ncluster_id = %s\nurl = %s\n",
           json_string_value(json_object_get(cli->result, "cluster_id")),
           json_string_value(json_object_get(cli->result, "url")));
}

/* Nothing to store: every client has the URL, and reads it from its own configuration. That the
 * registry answers there is the part of the question that has an answer. */
static int run_update_client(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    session_close(&s);
    return rc;
}

static void show_update_client(const struct cli *cli)
{
    (void)cli;
    puts("the registry answers; nothing is stored: clients find it by the URL they are given");
}

/* ---- messages: changes are transactions here, nothing waits to be delivered ---- */

static int run_no_messages(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    cli->result = json_array();
    session_close(&s);
    return rc;
}

static int run_deliver(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    session_close(&s);
    return rc;
}

static void show_nothing_waits(const struct cli *cli)
{
    (void)cli;
    puts("there are no messages: every change is made at once");
}

const struct verb config_verbs[] = {
    {.name = "dev-extract-config",
     .group = "Metadata",
     .summary = "print where --config leads, as an ini file",
     .run = run_extract,
     .show = show_extract,
     .wants_registry = true},
    {.name = "get-abm-client-config",
     .group = "Metadata",
     .summary = "the same",
     .run = run_extract,
     .show = show_extract,
     .wants_registry = true},
    {.name = "update-abm-client-config",
     .group = "Metadata",
     .summary = "see that the registry answers; there is nothing to update",
     .run = run_update_client,
     .show = show_update_client,
     .wants_registry = true},
    {.name = "list-nsm-host-messages",
     .group = "Metadata",
     .positionals = "[ID]",
     .summary = "list what waits to be told to namespace managers: nothing, ever",
     .run = run_no_messages,
     .show = show_nothing_waits,
     .wants_registry = true},
    {.name = "list-osd-messages",
     .group = "Metadata",
     .positionals = "[ID]",
     .summary = "list what waits to be told to OSDs: nothing, ever",
     .run = run_no_messages,
     .show = show_nothing_waits,
     .wants_registry = true},
    {.name = "deliver-messages",
     .group = "Metadata",
     .summary = "tell them: there is nothing to tell",
     .run = run_deliver,
     .show = show_nothing_waits,
     .wants_registry = true},
    {.name = NULL},
};
