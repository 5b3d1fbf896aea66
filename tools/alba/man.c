#include "alba/man.h"

#include <string.h>

#include "alba/verb.h"

/* Text as roff: nothing in it is a request or an escape. */
static void put(FILE *out, const char *text)
{
    bool line_start = true;

    for (const char *p = text; *p != '\0'; p++) {
        if (line_start && (*p == '.' || *p == '\'')) {
            fputs("\\&", out);
        }
        line_start = *p == '\n';
        if (*p == '\\') {
            fputs("\\e", out);
        } else if (*p == '-') {
            fputs("\\-", out);
        } else if (strncmp(p, "…", strlen("…")) == 0) {
            fputs("\\&...", out);
            p += strlen("…") - 1;
        } else {
            fputc(*p, out);
        }
    }
}

static void put_option(FILE *out, const struct verb_option *o)
{
    fputs(".TP\n", out);
    if (o->letter != 0) {
        fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    }
    fputs("\\fB\\-\\-", out);
    put(out, o->name);
    fputs("\\fR", out);
    if (o->arg != NULL) {
        fputs("=\\fI", out);
        put(out, o->arg);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    put(out, o->help != NULL ? o->help : "accepted");
    if (o->value_default != NULL && o->value_default[0] != '\0') {
        fputs(" (default ", out);
        put(out, o->value_default);
        fputs(")", out);
    }
    fputc('\n', out);
}

static void put_verb(FILE *out, const struct verb *v)
{
    fputs(".SS \"", out);
    put(out, v->name);
    if (v->positionals != NULL) {
        fputc(' ', out);
        put(out, v->positionals);
    }
    fputs("\"\n", out);
    put(out, v->summary);
    fputs(".\n", out);
    if (v->details != NULL) { /* its lines are as they are meant */
        fputs(".PP\n.nf\n", out);
        put(out, v->details);
        fputs("\n.fi\n", out);
    }
    for (int i = 0; v->options[i].name != NULL; i++) {
        put_option(out, &v->options[i]);
    }
}

/* Every option of a verb that is offered to all, or to all of some kind. */
static void put_common(FILE *out)
{
    const struct verb any = {.name = "", .group = "", .wants_registry = true};
    struct verb_option common[VERB_COMMON_MAX];

    verb_common_options(&any, common);
    fputs(".SH OPTIONS OF ALL VERBS\n"
          "\\fB\\-\\-config\\fR and \\fB\\-\\-attempts\\fR count where the registry is asked.\n",
          out);
    for (int i = 0; common[i].name != NULL; i++) {
        put_option(out, &common[i]);
    }
}

static const char man_head[] =
    ".\\\" Made by `alba man`: do not edit.\n"
    ".TH ALBA 1 \"\" \"albacore " ALBACORE_VERSION "\" \"Albacore\"\n"
    ".SH NAME\n"
    "alba \\- erasure\\-coded objects and log\\-structured disks\n"
    ".SH SYNOPSIS\n"
    "\\fBalba\\fR \\fIVERB\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]\n"
    ".SH DESCRIPTION\n"
    "Results go to standard output, everything else to standard error.\n"
    "The beginning of a verb serves as the verb when no other begins so.\n"
    "\\fBalba\\fR \\fIVERB\\fR \\fB\\-\\-help\\fR tells about one verb.\n"
    ".PP\n"
    "With \\fB\\-\\-to\\-json\\fR standard output is one JSON document:\n"
    "{\"success\": true, \"result\": \\&...}, or {\"success\": false, \"error\": {\"message\",\n"
    "\"exception_type\", \"exception_code\"}}.\n";

static const char man_tail[] =
    ".SH ENVIRONMENT\n"
    ".TP\n\\fBALBA_CONFIG\\fR\n"
    "The registry, where \\fB\\-\\-config\\fR is not given.\n"
    ".TP\n\\fBALBA_DIR\\fR\n"
    "The folder of a deployment on this machine: its proxy and its disks.\n"
    ".TP\n\\fBALBA_CLI_TLS\\fR\n"
    "Certificates, where \\fB\\-\\-tls\\fR is not given.\n"
    ".SH EXIT STATUS\n"
    "0: done. 1: a wrong command line. 2: the verb failed.\n"
    "With \\fB\\-\\-to\\-json\\fR a failure of a verb that older programs know is 0, as those "
    "look\n"
    "at \"success\" alone, and of another 1.\n"
    ".SH FILES\n"
    ".TP\n\\fID\\fR/alba.url\n"
    "Written by \\fBalba up\\fR: what \\fB\\-\\-config\\fR wants.\n"
    ".TP\n\\fID\\fR/up.json\n"
    "The daemons that run, with their addresses.\n";

void man_page(FILE *out)
{
    const char *group = "";

    fputs(man_head, out);
    for (const struct verb *const *table = verb_tables; *table != NULL; table++) {
        for (const struct verb *v = *table; v->name != NULL; v++) {
            if (strcmp(group, v->group) != 0) {
                group = v->group;
                fputs(".SH \"VERBS: ", out);
                put(out, group);
                fputs("\"\n", out);
            }
            put_verb(out, v);
        }
    }
    put_common(out);
    fputs(man_tail, out);
}
