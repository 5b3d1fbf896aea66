/* Help texts, made from the verb table. */
#ifndef ALBA_HELP_H
#define ALBA_HELP_H

#include <stdio.h>

#include <jansson.h>

struct verb;

void help_verb(const struct verb *verb, FILE *out);
void help_overview(FILE *out);
/* The names of all verbs, in order; new reference. */
json_t *help_commands(void);

#endif
