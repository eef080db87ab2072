/* A program that waits for ever: what is in an idle container. */
#include <unistd.h>

int main(void) {
    for (;;) pause();
}
