// Package htmlform finds the forms of an HTML page, as a browser would submit them.
package htmlform

import (
	"html"
	"strings"
)

// A Form is what a form holds.
type Form struct {
	Action, Method string // the Method is GET where the page names none
	Fields         []Field
	Buttons        []Button
}

// A Field is an input, a select or a textarea that is not disabled.
type Field struct {
	Name, Value string
	Kind        string // the type of an input, "select" or "textarea"
	Off         bool   // a box that is not checked
}

// A Button submits its form.
type Button struct{ Name, Value, Text string }

// A tag is what stands between < and >.
type tag struct {
	name  string // with / before it where it closes
	attrs map[string]string
	text  string // what follows, where that is no HTML
}

// nextTag finds the next tag and returns the text before it and what follows it.
func nextTag(page string) (before string, t tag, rest string, ok bool) {
	for from := 0; ; {
		i := strings.IndexByte(page[from:], '<')
		if i < 0 {
			return page, t, "", false
		}
		start := from + i
		text := page[start+1:]
		if strings.HasPrefix(text, "!--") {
			_, after, closed := strings.Cut(text[3:], "-->")
			if !closed {
				return page[:start], t, "", false
			}
			from = len(page) - len(after)
			continue
		}
		if text == "" || text[0] != '/' && !letter(text[0]) {
			from = start + 1
			continue
		}
		t, rest = readTag(text)
		return page[:start], t, rest, true
	}
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// readTag reads a tag whose < was read.
func readTag(text string) (t tag, rest string) {
	end := strings.IndexAny(text, " \t\r\n>")
	if end < 0 {
		return tag{name: strings.ToLower(text)}, ""
	}
	t = tag{name: strings.ToLower(strings.TrimSuffix(text[:end], "/")), attrs: map[string]string{}}
	text = text[end:]
	for {
		text = strings.TrimLeft(text, " \t\r\n/")
		if text == "" {
			return t, ""
		}
		if text[0] == '>' {
			return t, text[1:]
		}
		end := strings.IndexAny(text[1:], " \t\r\n/>=") // a name has at least one character
		if end < 0 {
			return t, ""
		}
		name := strings.ToLower(text[:end+1])
		text = strings.TrimLeft(text[end+1:], " \t\r\n")
		value := ""
		if strings.HasPrefix(text, "=") {
			value, text = readValue(strings.TrimLeft(text[1:], " \t\r\n"))
		}
		if _, seen := t.attrs[name]; !seen {
			t.attrs[name] = html.UnescapeString(value)
		}
	}
}

func readValue(text string) (value, rest string) {
	if text == "" {
		return "", ""
	}
	if q := text[0]; q == '"' || q == '\'' {
		value, rest, _ = strings.Cut(text[1:], string(q))
		return value, rest
	}
	end := strings.IndexAny(text, " \t\r\n>")
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

// Parse finds the forms of a page. What is no HTML has none.
func Parse(page string) []*Form {
	var p parser
	for {
		before, t, rest, ok := nextTag(page)
		if p.button != nil {
			p.button.Text += " " + html.UnescapeString(before)
		}
		if !ok {
			break
		}
		page = rest
		if t.name == "script" || t.name == "style" || t.name == "textarea" { // what follows is text
			end := closing(page, t.name)
			t.text = html.UnescapeString(page[:end])
			page = page[end:]
		}
		p.take(t)
	}
	for _, f := range p.forms {
		for i := range f.Buttons {
			f.Buttons[i].Text = strings.Join(strings.Fields(f.Buttons[i].Text), " ")
		}
	}
	return p.forms
}

// closing is where a text ends that goes on to the tag that closes this element.
func closing(page, name string) int {
	for at := 0; ; at += 2 {
		i := strings.Index(page[at:], "</")
		if i < 0 {
			return len(page)
		}
		at += i
		if rest := page[at+2:]; len(rest) >= len(name) && strings.EqualFold(rest[:len(name)], name) {
			return at
		}
	}
}

// A parser is within a page.
type parser struct {
	forms  []*Form
	form   *Form   // that is open
	button *Button // whose text is being read
	choice *Field  // a select that is open
	chosen bool    // one of its options says that it is selected
}

func (p *parser) take(t tag) {
	if t.name == "form" && p.form == nil {
		p.form = &Form{Action: t.attrs["action"], Method: strings.ToUpper(t.attrs["method"])}
		if p.form.Method == "" {
			p.form.Method = "GET"
		}
		p.forms = append(p.forms, p.form)
	}
	f := p.form
	if _, disabled := t.attrs["disabled"]; f == nil || disabled {
		return
	}
	switch t.name {
	case "/form":
		p.form, p.button, p.choice = nil, nil, nil
	case "input":
		f.input(t)
	case "button":
		if kind := strings.ToLower(t.attrs["type"]); kind == "" || kind == "submit" {
			f.Buttons = append(f.Buttons, Button{Name: t.attrs["name"], Value: t.attrs["value"]})
			p.button = &f.Buttons[len(f.Buttons)-1]
		}
	case "/button":
		p.button = nil
	case "textarea":
		f.Fields = append(f.Fields, Field{Name: t.attrs["name"], Value: t.text, Kind: t.name})
	case "select":
		f.Fields = append(f.Fields, Field{Name: t.attrs["name"], Kind: t.name})
		p.choice, p.chosen = &f.Fields[len(f.Fields)-1], false
	case "/select":
		p.choice = nil
	case "option":
		if p.choice == nil {
			return
		}
		_, selected := t.attrs["selected"]
		if selected || p.choice.Value == "" && !p.chosen {
			p.choice.Value = t.attrs["value"]
		}
		p.chosen = p.chosen || selected
	}
}

// input adds an input element.
func (f *Form) input(t tag) {
	in := Field{Name: t.attrs["name"], Value: t.attrs["value"], Kind: strings.ToLower(t.attrs["type"])}
	switch in.Kind {
	case "submit", "image":
		f.Buttons = append(f.Buttons, Button{Name: in.Name, Value: in.Value, Text: in.Value})
		return
	case "reset", "button", "file":
		return
	case "checkbox", "radio":
		_, checked := t.attrs["checked"]
		in.Off = !checked
		if in.Value == "" {
			in.Value = "on"
		}
	}
	f.Fields = append(f.Fields, in)
}
