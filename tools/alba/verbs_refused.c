/* Verbs of the older software that cannot do here what they did. Each fails with its reason and
 * what to do instead, which its --help says, too; none changes anything. */
#include <errno.h>

#include "alba/verb.h"

static int run_refused(struct cli *cli)
{
    return err_say(&cli->err, -EINVAL, "%s", cli->verb->details);
}

/* Whatever words it is given, the reason is what helps. */
#define REFUSED(verb, why)                                                                         \
    .name = (verb), .group = "Refused", .positionals = "[ARGUMENT…]", .details = (why),            \
    .run = run_refused, .wants_registry = true

#define NOT_HERE "refused: not in this version"
#define CLOSED_EDITION "refused: of the older software's closed edition"

#define VERIFY                                                                                     \
    "this version cannot verify a whole namespace at once; every read is verified, each ASD "      \
    "checks its disk by itself, and alba asd-range-validate checks values of one"
#define REWRITE                                                                                    \
    "no agent of this version writes an object anew; alba download-object and alba "               \
    "upload-object --allow-overwrite do"
#define JOBS "no job runs in the background here (alba list-jobs): nothing has a progress"

#define OPTION(option)                                                                             \
    {                                                                                              \
        .name = (option), .arg = "VALUE", .help = "refused"                                        \
    }
#define FLAG(option)                                                                               \
    {                                                                                              \
        .name = (option), .help = "refused"                                                        \
    }

const struct verb refused_verbs[] = {
    {REFUSED("unit-tests", "this program has no tests in it: tools/check of the source runs all, "
                           "ctest -R NAME one"),
     .summary = "refused: the tests are programs of their own",
     .options = {OPTION("only-test"), OPTION("xml")}},
    {REFUSED("recover-namespace",
             "a namespace cannot be made from its fragments in this version; alba "
             "recover-registry brings the registry back from copies on OSDs, alba "
             "restore-metadata all metadata from a file of alba backup-metadata"),
     .summary = NOT_HERE},
    {REFUSED("namespace-recovery-agent",
             "manifests cannot be made from fragments in this version; alba restore-metadata "
             "brings them back from a file of alba backup-metadata"),
     .summary = NOT_HERE, .options = {OPTION("osd-id")}},
    {REFUSED("verify-namespace", VERIFY), .summary = NOT_HERE, .options = {OPTION("factor")}},
    {REFUSED("verify-namespaces", VERIFY), .summary = NOT_HERE, .options = {OPTION("factor")}},
    {REFUSED("rewrite-object", REWRITE), .summary = NOT_HERE},
    {REFUSED("rewrite-namespace", REWRITE), .summary = NOT_HERE, .options = {OPTION("factor")}},
    {REFUSED("show-job-progress", JOBS), .summary = NOT_HERE},
    {REFUSED("clear-job-progress", JOBS), .summary = NOT_HERE},
    {REFUSED("dev-edit-config", "no configuration is stored behind --config; edit the file that a "
                                "daemon was started with, and restart it"),
     .summary = "refused: configurations are files"},
    {REFUSED("asd-discovery", "ASDs do not announce themselves; alba list-all-osds lists those "
                              "that are registered, alba add-osd registers the one at an address"),
     .summary = "refused: ASDs are registered by their address"},
    {REFUSED("set-namespace-cache-quota",
             "quotas of a namespace in caches are of the older software's closed edition; here "
             "each proxy's configuration bounds its caches (alba proxy-start --help-config)"),
     .summary = CLOSED_EDITION,
     .options = {OPTION("fragment-cache-quota"), FLAG("clear-fragment-cache-quota"),
                 OPTION("block-cache-quota"), FLAG("clear-block-cache-quota")}},
    {REFUSED("add-s3-osd", "a bucket of S3 cannot be an OSD; see alba add-osd"),
     .summary = CLOSED_EDITION, .options = {OPTION("arakoon-url"), OPTION("long-id")}},
    {.name = NULL},
};
