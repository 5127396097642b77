package pipeline

import (
	"fmt"
	"net/http"
)

// Routes hands each route of the pipeline to handle, with its pattern (as of
// http.ServeMux) and a title for a list of links, "" where a person has nothing
// to see.
func (p *Pipeline) Routes(handle func(pattern, title string, h http.Handler)) {
	handle("/api/v1/", "", p.api)
	measured := func(route string, h http.Handler) { handle(route, "", p.Measure(route, h)) }
	measured("/federate", p.federate)
	measured("/-/reload", p.lifecycle(func(r *http.Request) error { return p.Reload(r.Context()) }))
	measured("/-/quit", p.lifecycle(func(*http.Request) error { p.Quit(); return nil }))
}

// lifecycle guards a route that changes the process: only with the flag, and
// only by a method that no link or image uses.
func (p *Pipeline) lifecycle(do func(*http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPost && r.Method != http.MethodPut:
			w.Header().Set("Allow", "POST, PUT")
			http.Error(w, "Only POST or PUT requests allowed", http.StatusMethodNotAllowed)
		case !p.opts.EnableLifecycle:
			http.Error(w, "Lifecycle API is not enabled; start with --web.enable-lifecycle", http.StatusForbidden)
		default:
			if err := do(r); err != nil {
				http.Error(w, fmt.Sprintf("failed to reload config: %v", err), http.StatusInternalServerError)
			}
		}
	})
}
