#include "alba/help.h"

#include <string.h>

#include "alba/output.h"
#include "alba/verb.h"

enum { OPTION_COLUMNS = 32 };

static void show_option(const struct verb_option *o, FILE *out)
{
    char left[64];
    int bytes;

    if (o->letter != 0) {
        snprintf(left, sizeof left, "-%c, --%s%s%s", o->letter, o->name, o->arg ? "=" : "",
                 o->arg ? o->arg : "");
    } else {
        snprintf(left, sizeof left, "    --%s%s%s", o->name, o->arg ? "=" : "",
                 o->arg ? o->arg : "");
    }
    bytes = OPTION_COLUMNS + (int)(strlen(left) - output_columns(left));
    fprintf(out, "  %-*s %s", bytes, left, o->help != NULL ? o->help : "");
    if (o->value_default != NULL && o->value_default[0] != '\0') {
        fprintf(out, " (default %s)", o->value_default);
    }
    fputc('\n', out);
}

void help_verb(const struct verb *verb, FILE *out)
{
    struct verb_option common[VERB_COMMON_MAX];

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
    verb_common_options(verb, common);
    for (int i = 0; common[i].name != NULL; i++) {
        show_option(&common[i], out);
    }
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
