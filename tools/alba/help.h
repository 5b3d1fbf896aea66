/* Help texts, made from the verb table. */
#ifndef ALBA_HELP_H
#define ALBA_HELP_H

#include <stdio.h>

struct verb;

void help_verb(const struct verb *verb, FILE *out);
void help_overview(FILE *out);
/* One verb a line, for shells. */
void help_commands(FILE *out);

#endif
