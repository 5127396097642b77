package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"
)

// ErrDashboard is what every fault in a dashboard file is (errors.Is).
var ErrDashboard = errors.New("not a dashboard of Grafana")

// DashboardError says where in a file of a dashboard the fault is.
type DashboardError struct {
	// File is the name as given to ParseDashboard.
	File string `json:"file"`
	// Line and Column count from 1, the column in characters; both are 0 where
	// the fault has no place.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Message is the fault, Repair what to do about it.
	Message string `json:"message"`
	Repair  string `json:"repair"`
}

// Error is one line: where, what, how to mend.
func (e *DashboardError) Error() string {
	where := e.File
	if e.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Column)
	}
	return fmt.Sprintf("%s: %s (repair: %s)", where, e.Message, e.Repair)
}

// Unwrap makes errors.Is(err, ErrDashboard) hold.
func (e *DashboardError) Unwrap() error { return ErrDashboard }

// Dashboard describes one file of a dashboard.
type Dashboard struct {
	// UID is the dashboard's own, or made of the file's name where it has none.
	UID         string   `json:"uid"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Tags        []string `json:"tags"`
	// File is the path below its source.
	File string `json:"file"`
	// Builtin tells that the file is part of this program.
	Builtin bool `json:"builtin"`
	// Note says what else is to be known, such as which file it stands for.
	Note string `json:"note,omitempty"`
	// Error is set for a file that cannot be shown.
	Error *DashboardError `json:"error,omitempty"`
}

// dashboardDoc is what the server itself reads of a dashboard; the rest is the
// business of the one who draws it. Its fields catch a type that no reader of
// such files would expect.
type dashboardDoc struct {
	UID         string           `json:"uid"`
	Title       string           `json:"title"`
	Description string           `json:"description"`
	Tags        []string         `json:"tags"`
	Panels      []dashboardPanel `json:"panels"`
	Rows        []struct {
		Panels []dashboardPanel `json:"panels"`
	} `json:"rows"`
	Templating struct {
		List []struct {
			Name string `json:"name"`
			Type string `json:"type"`
		} `json:"list"`
	} `json:"templating"`
}

type dashboardPanel struct {
	Type   string           `json:"type"`
	Title  string           `json:"title"`
	Panels []dashboardPanel `json:"panels"`
}

// dashboardWrap are the forms in which a dashboard is wrapped: that of
// Grafana's HTTP API, and that of its Kubernetes-like resources.
type dashboardWrap struct {
	Dashboard  json.RawMessage `json:"dashboard"`
	APIVersion string          `json:"apiVersion"`
	Kind       string          `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec json.RawMessage `json:"spec"`
}

// ParseDashboard reads a dashboard of Grafana's classic JSON model: the bare
// object, {"dashboard": {...}} as its HTTP API has it, or a resource of kind
// Dashboard with that model as its spec. It returns what the file says of
// itself and the bare object, a part of content. Its error is a
// *DashboardError with the file, line and column.
func ParseDashboard(file string, content []byte) (Dashboard, json.RawMessage, error) {
	d := Dashboard{UID: uidOfFile(file), File: file, Tags: []string{}}
	fail := func(message, repair string) (Dashboard, json.RawMessage, error) {
		return d, nil, &DashboardError{File: file, Message: message, Repair: repair}
	}
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(content)) == 0 {
		return fail("the file is empty", "export the dashboard's JSON model from Grafana into it, or remove it")
	}
	if err := placed(file, content, 0, json.Unmarshal(content, new(json.RawMessage))); err != nil {
		return d, nil, err
	}
	if bytes.TrimSpace(content)[0] != '{' {
		return fail("the file holds JSON, but no object", "export the dashboard's JSON model from Grafana")
	}
	bare := json.RawMessage(content)
	var wrap dashboardWrap
	if json.Unmarshal(content, &wrap) == nil {
		switch {
		case wrap.Kind == "Dashboard" && wrap.Spec != nil:
			bare = wrap.Spec
			d.UID = orElse(wrap.Metadata.Name, d.UID)
		case wrap.Dashboard != nil:
			bare = wrap.Dashboard
		}
	}
	var doc dashboardDoc
	if err := json.Unmarshal(bare, &doc); err != nil {
		return d, nil, placed(file, content, max(bytes.Index(content, bare), 0), err)
	}
	if strings.Contains(wrap.APIVersion, "/v2") {
		return fail("the dashboard is of the model "+wrap.APIVersion+", which is not shown here", "export it from Grafana as classic JSON")
	}
	if doc.Title == "" && doc.Panels == nil && doc.Rows == nil {
		return fail("the JSON is no dashboard: it has neither a title nor panels", "export the dashboard's JSON model from Grafana, or move the file elsewhere")
	}
	d.UID, d.Title, d.Description = orElse(doc.UID, d.UID), orElse(doc.Title, d.UID), doc.Description
	d.Tags = append(d.Tags, doc.Tags...)
	return d, bare, nil
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

var notInUID = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// uidOfFile makes a UID of what characters a UID may have in a file's name.
func uidOfFile(file string) string {
	name := strings.TrimSuffix(file, path.Ext(file))
	return orElse(strings.Trim(notInUID.ReplaceAllString(name, "-"), "-"), "dashboard")
}

// placed turns an error of encoding/json into one with line and column; base is
// where in content the decoder began.
func placed(file string, content []byte, base int, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	e := &DashboardError{File: file}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		at := base + int(syntax.Offset)
		e.Message, e.Repair = "broken JSON: "+syntax.Error(), repairOf(content, at, strings.Contains(syntax.Error(), "unexpected end"))
		// The offset is that after the byte which cannot stand there.
		e.Line, e.Column = lineOf(content, at-1)
	case errors.As(err, &kind):
		e.Message = fmt.Sprintf("%s is a %s, which it cannot be", orElse(kind.Field, "the dashboard"), kind.Value)
		e.Repair = "make it " + kindName(kind.Type.Kind().String())
		e.Line, e.Column = lineOf(content, base+int(kind.Offset)-1)
	default:
		e.Message, e.Repair = err.Error(), "export the dashboard's JSON model from Grafana again"
	}
	return e
}

// kindName is a kind of Go in the words of JSON.
func kindName(kind string) string {
	switch kind {
	case "slice":
		return "an array"
	case "struct":
		return "an object"
	}
	return "a " + kind
}

// repairOf guesses from the bytes around the fault what its author meant; at is
// the offset after the byte that cannot stand there, or the end where ended.
func repairOf(content []byte, at int, ended bool) string {
	if ended {
		if last := bytes.TrimSpace(content); len(last) > 0 && bytes.HasSuffix(last, []byte("}")) {
			return "close the brackets that are open: add } or ] at the end"
		}
		return "the file ends too early: copy it again, whole"
	}
	at = min(max(at, 1), len(content))
	before := bytes.TrimSpace(content[:at-1])
	var last byte
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	switch c := content[at-1]; {
	case last == ',' && (c == '}' || c == ']'):
		return "remove the comma before it"
	case c == '/' || c == '#':
		return "remove the comment: JSON has none"
	case c == '\'':
		return `use double quotes: "`
	case c == '\n' || c == '\t':
		return `close the string before it with ", or write the line break as \n`
	case (c == '"' || c == '{' || c == '[') && last != ':' && last != ',':
		return "put a comma before it"
	case c >= 0x80:
		return `use plain double quotes: "`
	}
	return "correct the JSON at this place"
}

// lineOf is the line and the column of an offset.
func lineOf(content []byte, at int) (line, column int) {
	before := content[:min(max(at, 0), len(content))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
