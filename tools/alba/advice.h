/* What a person may do next about a failure, where its message does not say. */
#ifndef ALBA_ADVICE_H
#define ALBA_ADVICE_H

struct cli;

/* Appends it to cli->err, by the code of the exception or of the error. */
void advice_add(struct cli *cli);

#endif
