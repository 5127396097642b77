package page

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
)

const aDashboard = `{"uid": "a", "title": "A", "tags": ["x"], "description": "d", "panels": [{"type": "stat", "title": "one"}]}`

func TestParseDashboard(t *testing.T) {
	t.Parallel()
	f := func(content, uid, title, bare string) {
		t.Helper()
		d, raw, err := ParseDashboard("dir/My board.json", []byte(content))
		require.NoError(t, err)
		require.Equal(t, uid, d.UID)
		require.Equal(t, title, d.Title)
		require.JSONEq(t, bare, string(raw))
	}
	f(aDashboard, "a", "A", aDashboard)
	f("\xef\xbb\xbf"+aDashboard, "a", "A", aDashboard)
	f(`{"meta": {}, "dashboard": `+aDashboard+`}`, "a", "A", aDashboard)
	f(`{"apiVersion": "dashboard.grafana.app/v1beta1", "kind": "Dashboard", "metadata": {"name": "res"}, "spec": {"title": "R"}}`, "res", "R", `{"title": "R"}`)
	f(`{"panels": []}`, "dir-My-board", "dir-My-board", `{"panels": []}`)
	f(`{"title": "old", "rows": [{"panels": [{"type": "graph"}]}]}`, "dir-My-board", "old", `{"title": "old", "rows": [{"panels": [{"type": "graph"}]}]}`)
}

func TestParseDashboardFaults(t *testing.T) {
	t.Parallel()
	f := func(content string, line, column int, message, repair string) {
		t.Helper()
		d, raw, err := ParseDashboard("x.json", []byte(content))
		require.Nil(t, raw)
		require.Equal(t, "x", d.UID, "a file that is broken has an address nevertheless")
		require.ErrorIs(t, err, ErrDashboard)
		var e *DashboardError
		require.ErrorAs(t, err, &e)
		require.Equal(t, [2]int{line, column}, [2]int{e.Line, e.Column}, err)
		require.Contains(t, e.Message, message)
		require.Contains(t, e.Repair, repair)
		require.Contains(t, err.Error(), "x.json")
	}
	f("", 0, 0, "empty", "export")
	f(" \n ", 0, 0, "empty", "export")
	f("[]", 0, 0, "no object", "export")
	f(`{"a": 1}`, 0, 0, "neither a title nor panels", "export")
	f(`{"apiVersion": "dashboard.grafana.app/v2beta1", "kind": "Dashboard", "spec": {"title": "x", "elements": {}}}`, 0, 0, "v2beta1", "classic")
	f("{\n  \"title\": \"A\",\n}", 3, 1, "broken JSON: invalid character '}'", "remove the comma")
	f("{\n  \"title\": \"A\"\n  \"uid\": \"a\"\n}", 3, 3, "after object key:value pair", "put a comma")
	f(`{"title": 'A'}`, 1, 11, "broken JSON", "double quotes")
	f(`{"title": “A”}`, 1, 11, "broken JSON", "plain double quotes")
	f("{ // remark\n}", 1, 3, "broken JSON", "comment")
	f("{\"title\": \"A\n\"}", 1, 13, "in string literal", `\n`)
	f(`{"title": "A"`, 1, 13, "unexpected end", "too early")
	f(`{"panels": [{"type": "stat"}`, 1, 28, "unexpected end", "close the brackets")
	f(`{"ä": "ä", x}`, 1, 12, "broken JSON", "correct")
	f("{\"title\": \"A\",\n \"panels\": {\"a\": 1}}", 2, 12, "panels is a object", "an array")
	f("{\"dashboard\":\n {\"title\": 5}}", 2, 12, "title is a number", "a string")
	f(`{"title": "A", "panels": ["text"]}`, 1, 32, "panels is a string", "an object")
}

func TestDashboardsList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	builtin := fstest.MapFS{
		"a.json":   {Data: []byte(aDashboard)},
		"b.json":   {Data: []byte(`{"uid": "b", "title": "B built in"}`)},
		"note.txt": {Data: []byte("no dashboard")},
	}
	put(t, dir, "broken.json", "{\n  \"title\": \"A\",\n}")
	put(t, dir, "sub/mine.json", `{"uid": "b", "title": "b of mine"}`)
	put(t, dir, "twice.json", `{"uid": "c", "title": "C"}`)
	put(t, dir, "twice2.json", `{"uid": "c", "title": "C again"}`)
	put(t, dir, "..data/twice.json", `{"uid": "hidden", "title": "H"}`)
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "gone.json")))
	d := NewDashboards(DashboardsOptions{Builtin: builtin, Dir: dir})

	var list DashboardList
	require.Equal(t, 200, ask(t, d, DashboardsPath, &list))
	type line struct{ uid, title, fault, note string }
	var got []line
	for _, e := range list.Dashboards {
		l := line{uid: e.UID, title: e.Title, note: e.Note}
		if e.Error != nil {
			l.fault = e.Error.Error()
		}
		got = append(got, l)
	}
	require.Equal(t, []line{
		{uid: "broken", fault: filepath.Join(dir, "broken.json") + ":3:1: broken JSON: invalid character '}' looking for beginning of object key string (repair: remove the comma before it)"},
		{uid: "c-2", title: "C again", fault: filepath.Join(dir, "twice2.json") + `: the uid "c" is that of ` + filepath.Join(dir, "twice.json") + " too, which is shown (repair: give one of them another uid)"},
		{uid: "a", title: "A"},
		{uid: "b", title: "b of mine", note: "stands for the built-in dashboard b.json, which has the same uid"},
		{uid: "c", title: "C"},
	}, got)
	require.Len(t, list.Problems, 1, "the link that leads nowhere")
	require.Contains(t, list.Problems[0], "gone.json")
}

func TestDashboardsOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "broken.json", "{")
	put(t, dir, "x/y.json", `{"dashboard": {"title": "<b>Y</b>"}}`)
	d := NewDashboards(DashboardsOptions{Builtin: fstest.MapFS{"a.json": {Data: []byte(aDashboard)}}, Dir: dir})
	var one dashboardAnswer
	require.Equal(t, 200, ask(t, d, DashboardsPath+"/a", &one))
	require.JSONEq(t, aDashboard, string(one.Dashboard))
	require.True(t, one.Meta.Builtin)
	require.Equal(t, 200, ask(t, d, DashboardsPath+"/x-y/", &one))
	require.JSONEq(t, `{"title": "<b>Y</b>"}`, string(one.Dashboard))
	require.Equal(t, filepath.Join(dir, "x", "y.json"), one.Meta.File)
	require.Equal(t, 404, ask(t, d, DashboardsPath+"/none", nil))
	require.Equal(t, 404, ask(t, d, DashboardsPath+"/..%2Fa", nil))
	require.Equal(t, 422, ask(t, d, DashboardsPath+"/broken", nil))

	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest(http.MethodPost, DashboardsPath, nil))
	require.Equal(t, 405, w.Code)
}

// A file that changes is read again, keeps its address while it is broken, and
// leaves the list with the file.
func TestDashboardsFollowFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := NewDashboards(DashboardsOptions{Dir: dir})
	require.Empty(t, d.List().Dashboards)
	name := put(t, dir, "one.json", aDashboard)
	require.Equal(t, 200, ask(t, d, DashboardsPath+"/a", nil))
	put(t, dir, "one.json", aDashboard+"]")
	require.Equal(t, 422, ask(t, d, DashboardsPath+"/a", nil))
	require.Contains(t, d.List().Dashboards[0].Error.Error(), "after top-level value")
	put(t, dir, "one.json", `{"uid": "a", "title": "A2"}`)
	require.Equal(t, "A2", d.List().Dashboards[0].Title)
	// Same size, another time.
	put(t, dir, "one.json", `{"uid": "a", "title": "A3"}`)
	require.NoError(t, os.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)))
	require.Equal(t, "A3", d.List().Dashboards[0].Title)
	require.NoError(t, os.WriteFile(name, []byte(strings.Repeat(" ", MaxDashboardBytes+1)), 0o600))
	require.Contains(t, d.List().Dashboards[0].Error.Message, "larger than 4 MiB")
	require.NoError(t, os.Remove(name))
	require.Empty(t, d.List().Dashboards)
	require.NoError(t, os.Remove(dir))
	require.Contains(t, d.List().Problems[0], "--page.dashboards")
}

func TestDashboardsAreBounded(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for _, n := range []string{"a/b/c/d/deep.json", "a/b/c/d/e/too-deep.json"} {
		files[n] = &fstest.MapFile{Data: []byte(`{"title": "t"}`)}
	}
	names, err := dashboardNames(files, ".", 0, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a/b/c/d/deep.json"}, names)
	_, err = readBounded(files, "nothing")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func FuzzParseDashboard(f *testing.F) {
	for _, s := range []string{
		aDashboard, `{"dashboard": {"title": "x"}}`, `{"dashboard": 5}`, `{"dashboard": null, "title": "x"}`, "{", "[]", "{'a'}", "{\"a\":\n\"b\n\"}", "\xff", `{"title": 5}`,
		`{"kind": "Dashboard", "spec": {"title": []}}`, `{"panels": [{"panels": [{"type": 1}]}]}`, `{"title": "a",}`, "{\"t\": \"\u00e4\", \"title\": {}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, raw, err := ParseDashboard("f.json", content)
		require.NotEmpty(t, d.UID)
		if err == nil {
			require.True(t, json.Valid(raw))
			require.NotEmpty(t, d.Title)
			again, _, err := ParseDashboard("f.json", raw)
			require.NoError(t, err, "the bare object is a dashboard itself")
			require.Equal(t, d.Title == again.Title, true)
			return
		}
		var e *DashboardError
		require.True(t, errors.As(err, &e))
		require.NotEmpty(t, e.Message)
		require.NotEmpty(t, e.Repair)
		lines := strings.Split(string(content), "\n")
		require.LessOrEqual(t, e.Line, len(lines))
		if e.Line > 0 {
			require.LessOrEqual(t, e.Column, len(lines[e.Line-1])+1)
		}
	})
}

func put(t *testing.T, dir, name, content string) string {
	t.Helper()
	full := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o700))
	require.NoError(t, os.WriteFile(full, []byte(content), 0o600))
	return full
}

// ask reads an answer's data into out and returns the status.
func ask(t *testing.T, h http.Handler, path string, out any) int {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	var e struct {
		Status, Error string
		Data          json.RawMessage
	}
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &e), w.Body.String())
	require.Equal(t, w.Code == 200, e.Status == "success")
	require.Equal(t, w.Code == 200, e.Error == "", w.Body.String())
	if out != nil {
		require.NoError(t, json.Unmarshal(e.Data, out))
	}
	return w.Code
}
