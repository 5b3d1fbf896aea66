#include "alba/help.h"

#include <string.h>

#include "alba/verb.h"

static void show_option(const struct verb_option *o, FILE *out)
{
    char left[64];

    if (o->letter != 0) {
        snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, o->arg ? "=" : "",
                 o->arg ? o->arg : "");
    } else {
        snprintf(left, sizeof left, "    --%s%s%s", o->name, o->arg ? "=" : "",
                 o->arg ? o->arg : "");
    }
    fprintf(out, "  %-32s %s", left, o->help != NULL ? o->help : "");
    if (o->value_default != NULL) {
        fprintf(out, " (default %s)", o->value_default);
    }
    fputc('\n', out);
}

/* -h is the host in some verbs, as older scripts write it. */
static char help_letter(const struct verb *verb)
{
    for (int i = 0; verb->options[i].name != NULL; i++) {
        if (verb->options[i].letter == 'h') {
            return 0;
        }
    }
    return 'h';
}

static bool speaks_to_asds(const struct verb *verb)
{
    return verb->wants_registry || strcmp(verb->group, "One ASD") == 0;
}

void help_verb(const struct verb *verb, FILE *out)
{
    fprintf(out, "Usage: alba %s [options]%s%s\n\n%s\n", verb->name,
            verb->positionals != NULL ? " " : "",
            verb->positionals != NULL ? verb->positionals : "", verb->summary);
    if (verb->details != NULL) {
        fprintf(out, "\n%s\n", verb->details);
    }
    fputs("\nOptions:\n", out);
    for (int i = 0; verb->options[i].name != NULL; i++) {
        show_option(&verb->options[i], out);
    }
    if (verb->wants_registry) {
        show_option(&(struct verb_option){.name = "config",
                                          .arg = "URL",
                                          .help = "engine URL of the registry, or a file that "
                                                  "holds one (else $ALBA_CONFIG)"},
                    out);
    }
    if (speaks_to_asds(verb)) {
        show_option(&(struct verb_option){.name = "tls",
                                          .arg = "CA,CERT,KEY",
                                          .help = "PEM files, for ASDs and metadata where TLS is "
                                                  "spoken, and for the ASD at --host (else "
                                                  "$ALBA_CLI_TLS)"},
                    out);
    }
    show_option(&(struct verb_option){.name = "to-json", .help = "print one JSON document"}, out);
    show_option(
        &(struct verb_option){.name = "help", .letter = help_letter(verb), .help = "print this"},
        out);
}

void help_overview(FILE *out)
{
    const char *group = "";

    fputs("Usage: alba VERB [options] [arguments]\n"
          "Erasure-coded objects and log-structured disks. `alba VERB --help` tells more.\n",
          out);
    for (const struct verb *const *table = verb_tables; *table != NULL; table++) {
        for (const struct verb *v = *table; v->name != NULL; v++) {
            if (strcmp(group, v->group) != 0) {
                group = v->group;
                fprintf(out, "\n%s\n", group);
            }
            fprintf(out, "  %-26s %s\n", v->name, v->summary);
        }
    }
}

json_t *help_commands(void)
{
    json_t *names = json_array();

    for (const struct verb *const *table = verb_tables; *table != NULL; table++) {
        for (const struct verb *v = *table; v->name != NULL; v++) {
            json_array_append_new(names, json_string(v->name));
        }
    }
    return names;
}
