// Command demo is the application of the end-to-end tests: an HTTP server with
// a page that is quick, one that burns cpu for as long as it is told and one
// that fails, with its own /metrics, and with a place to send alerts and samples
// to. It can also be a job that burns cpu, or one that takes memory until it is
// killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxWork bounds what one request can ask for.
const maxWork = 5 * time.Second

func main() {
	listen := flag.String("listen", ":8080", "address to listen on")
	page := flag.String("get", "", "URL to fetch and print instead of serving")
	ca := flag.String("ca", "", "file of the authorities to believe for -get")
	token := flag.String("token", "", "file of a bearer token for -get")
	burnFor := flag.Duration("burn", 0, "processor time to use instead of serving")
	eat := flag.Bool("eat", false, "take memory without end instead of serving")
	flag.Parse()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch {
	case *burnFor > 0:
		burn(ctx, *burnFor)
		return
	case *eat:
		devour(ctx)
		return
	}
	if *page != "" {
		if err := fetch(ctx, *page, *ca, *token, os.Stdout); err != nil {
			log.Error("cannot fetch", "err", err)
			os.Exit(1)
		}
		return
	}
	if err := serve(ctx, *listen, log); err != nil {
		log.Error("cannot serve", "err", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, listen string, log *slog.Logger) error {
	server := &http.Server{Addr: listen, Handler: newApp().routes(), ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			log.Warn("requests were cut off", "err", err)
		}
	}()
	log.Info("listening", "address", listen)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// app counts the orders that its pages take.
type app struct{ orders atomic.Int64 }

func newApp() *app { return &app{} }

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		a.orders.Add(1)
		host, _ := os.Hostname()
		fmt.Fprintln(w, "hello from", host)
	})
	mux.HandleFunc("GET /work", a.work)
	mux.HandleFunc("GET /error", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this page always fails", http.StatusInternalServerError)
	})
	// Where a server may send alerts and samples: taken, and forgotten.
	for _, path := range []string{"/api/v2/alerts", "/api/v1/write"} {
		mux.HandleFunc("POST "+path, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		fmt.Fprintf(w, "# HELP demo_orders_total Orders taken.\n# TYPE demo_orders_total counter\ndemo_orders_total %d\n", a.orders.Load())
	})
	return mux
}

// threadTime is the processor time that this thread has used, by the clock that
// clock_gettime(2) describes.
func threadTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // every kernel that Go runs on has it
	return time.Duration(t.Nano())
}

// work burns the milliseconds of the query of processor time: a busy machine
// makes it take longer, and not use less.
func (a *app) work(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	span := time.Duration(ms) * time.Millisecond
	if err != nil || span < 0 || span > maxWork {
		http.Error(w, fmt.Sprintf("ms must be a number from 0 to %d", maxWork.Milliseconds()), http.StatusBadRequest)
		return
	}
	turns := burn(r.Context(), span)
	a.orders.Add(1)
	fmt.Fprintln(w, turns, "turns")
}

// burn uses processor time.
func burn(ctx context.Context, span time.Duration) (turns int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for end := threadTime() + span; threadTime() < end && ctx.Err() == nil; {
		turns++
	}
	return turns
}

// devour takes a megabyte after the other.
func devour(ctx context.Context) {
	var all [][]byte
	for ctx.Err() == nil {
		one := make([]byte, 1<<20)
		for i := 0; i < len(one); i += 1 << 10 {
			one[i] = 1
		}
		all = append(all, one)
	}
	runtime.KeepAlive(all)
}
