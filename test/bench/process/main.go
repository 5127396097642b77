package process

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main gives a benchmark its arguments and a context that ends when somebody
// interrupts, and gives the status to exit with: 1 after an error, which is one
// line on stderr.
func Main(run func(ctx context.Context, args []string) error) (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
