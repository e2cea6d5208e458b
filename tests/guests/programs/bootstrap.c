/* A runtime in C: answers with its event. */
#include "runtime_api.h"

static const char *echo(const char *event) { return event; }

int main(void) { return serve(echo); }
