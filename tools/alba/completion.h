/* The completion script of a shell, made from the verb table, and the values it asks for. */
#ifndef ALBA_COMPLETION_H
#define ALBA_COMPLETION_H

struct cli;

/* On standard output. */
void completion_bash(void);
/* cli->result: an array of names of a kind (words.h). Fails with cli->err. */
int completion_values(struct cli *cli, const char *kind);

#endif
