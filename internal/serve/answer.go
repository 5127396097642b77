package serve

import (
	"encoding/json"
	"net/http"
)

// envelope is that of the Prometheus HTTP API, in which all of Strata's own APIs
// answer, too.
type envelope struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

// Answer answers a request of an API with data, and with remarks about them. A
// nil pointer becomes null, a bare nil no data at all.
func Answer(w http.ResponseWriter, data any, infos ...string) {
	write(w, http.StatusOK, envelope{Status: "success", Data: data, Infos: infos})
}

// AnswerError answers with an HTTP status, the API's kind of error and its text.
func AnswerError(w http.ResponseWriter, code int, kind string, err error) {
	write(w, code, envelope{Status: "error", ErrorType: kind, Error: err.Error()})
}

func write(w http.ResponseWriter, code int, e envelope) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(e) // whoever left reads no error either
}
