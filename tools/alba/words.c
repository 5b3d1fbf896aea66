#include "alba/words.h"

#include <stdio.h>
#include <string.h>

#include "alba/verb.h"

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

struct rule {
    const char *name; /* of an option, or the word of a positional; NULL: any */
    const char *arg;  /* what its value is called begins so; NULL: any */
    const char *kind;
};

static const char *match(const struct rule *rules, size_t count, const char *name, const char *arg)
{
    for (size_t i = 0; i < count; i++) {
        if ((rules[i].name == NULL || strcmp(rules[i].name, name) == 0) &&
            (rules[i].arg == NULL || begins(arg, rules[i].arg))) {
            return rules[i].kind;
        }
    }
    return "";
}

const char *word_kind_of_option(const struct verb *verb, const struct verb_option *option)
{
    static const struct rule rules[] = {
        {NULL, "FILE", "file"},           {NULL, "DIR", "dir"},
        {NULL, "CA,CERT,KEY", "file"},    {NULL, "PATH", "file"},
        {"config", NULL, "file"},         {"dir", NULL, "dir"},
        {"long-id", NULL, "osd"},         {"preset", NULL, "preset"},
        {"nsm-hosts", NULL, "host"},      {"forget", NULL, "namespace"},
        {"namespace", NULL, "namespace"},
    };

    (void)verb;
    return option->arg == NULL
               ? ""
               : match(rules, sizeof(rules) / sizeof(rules[0]), option->name, option->arg);
}

const char *word_kind_of_positional(const struct verb *verb, const char *word)
{
    static const struct rule rules[] = {
        {"NAMESPACE", NULL, "namespace"},
        {"PRESET", NULL, "preset"},
        {"FILE", NULL, "file"},
        {"DIR", NULL, "dir"},
        {"DAEMON", NULL, "daemon"},
        {"LONG-ID", NULL, "osd"},
        {"true|false", NULL, "words:true,false"},
        {"bash|values", NULL, "words:bash,values"},
        {"KIND", NULL, "words:namespace,preset,osd,host,volume,daemon"},
    };
    const char *kind = match(rules, sizeof(rules) / sizeof(rules[0]), word, "");

    if (kind[0] != '\0' || strstr(verb->name, "create") != NULL) {
        return kind; /* a name that is to be made is nobody's yet */
    }
    if (strcmp(word, "ID") == 0 && strcmp(verb->group, "Metadata") == 0) {
        return "host";
    }
    if (strcmp(word, "NAME") != 0) {
        return "";
    }
    return strcmp(verb->group, "Presets") == 0         ? "preset"
           : strcmp(verb->group, "Virtual disks") == 0 ? "volume"
           : strstr(verb->name, "namespace") != NULL   ? "namespace"
           : strstr(verb->name, "-ns-") != NULL        ? "namespace"
                                                       : "";
}

const char *word_next(const char *positionals, char ret_word[WORD_BYTES_MAX])
{
    static const char around[] = " []…"; /* the last one is several bytes, none in a word */
    size_t len;

    if (positionals == NULL) {
        return NULL;
    }
    positionals += strspn(positionals, around);
    if (*positionals == '\0') {
        return NULL;
    }
    len = strcspn(positionals, around);
    snprintf(ret_word, WORD_BYTES_MAX, "%.*s", (int)len, positionals);
    return positionals + len;
}
