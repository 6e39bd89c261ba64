// Renders templates the way helm does: Go's text/template, the functions of sprig, and helm's own include, tpl,
// required and toYaml. Reads {"files": {name: text}, "data": {…}} and writes {name: text} of those not beginning with _.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"gopkg.in/yaml.v2"
)

type input struct {
	Files map[string]string
	Data  map[string]interface{}
}

func render(in input) (map[string]string, error) {
	root := template.New("chart").Option("missingkey=zero")
	functions := sprig.TxtFuncMap()
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	functions["tpl"] = func(text string, data interface{}) (string, error) {
		inner, err := root.Clone()
		if err != nil {
			return "", err
		}
		if inner, err = inner.New("tpl").Parse(text); err != nil {
			return "", err
		}
		var out bytes.Buffer
		err = inner.Execute(&out, data)
		return out.String(), err
	}
	functions["required"] = func(words string, value interface{}) (interface{}, error) {
		if value == nil || value == "" {
			return nil, errors.New(words)
		}
		return value, nil
	}
	functions["toYaml"] = func(value interface{}) string {
		// By way of JSON, so that a whole number stays one.
		text, err := json.Marshal(value)
		var plain interface{}
		if err == nil {
			err = yaml.Unmarshal(text, &plain)
		}
		if err == nil {
			text, err = yaml.Marshal(plain)
		}
		if err != nil {
			return ""
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	root.Funcs(functions)
	for name, text := range in.Files {
		if _, err := root.New(name).Parse(text); err != nil {
			return nil, err
		}
	}
	result := map[string]string{}
	for name := range in.Files {
		if strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		var out bytes.Buffer
		if err := root.ExecuteTemplate(&out, name, in.Data); err != nil {
			return nil, err
		}
		// As helm: a field that is not there is empty.
		result[name] = strings.ReplaceAll(out.String(), "<no value>", "")
	}
	return result, nil
}

func main() {
	var in input
	err := json.NewDecoder(os.Stdin).Decode(&in)
	var result map[string]string
	if err == nil {
		result, err = render(in)
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
