package probe

import (
	"html"
	"slices"
	"strings"
)

// A pageForm is a form of a page, as a browser would submit it.
type pageForm struct {
	action, method string
	fields         []field
	buttons        []button
}

type field struct{ name, value, kind string }

type button struct{ name, value, text string }

// visible are the kinds of input that a person fills in.
var visible = []string{"", "text", "email", "password", "tel", "number", "search", "url"}

// A tag is what stands between < and >.
type tag struct {
	name  string // with / before it where it closes
	attrs map[string]string
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

// parseForms finds the forms of a page.
func parseForms(page string) []*pageForm {
	var forms []*pageForm
	var f *pageForm
	var open *button // whose text is being read
	var choice *field
	for {
		before, t, rest, ok := nextTag(page)
		if open != nil {
			open.text += " " + html.UnescapeString(before)
		}
		if !ok {
			return tidy(forms)
		}
		page = rest
		if t.name == "script" || t.name == "style" {
			if i := strings.Index(strings.ToLower(page), "</"+t.name); i >= 0 {
				page = page[i:]
			}
			continue
		}
		if t.name == "form" && f == nil {
			f = &pageForm{action: t.attrs["action"], method: strings.ToUpper(t.attrs["method"])}
			forms = append(forms, f)
		}
		if f == nil {
			continue
		}
		_, disabled := t.attrs["disabled"]
		switch t.name {
		case "/form":
			f, open, choice = nil, nil, nil
		case "input":
			if !disabled {
				f.input(t)
			}
		case "button":
			if kind := strings.ToLower(t.attrs["type"]); !disabled && (kind == "" || kind == "submit") {
				f.buttons = append(f.buttons, button{name: t.attrs["name"], value: t.attrs["value"]})
				open = &f.buttons[len(f.buttons)-1]
			}
		case "/button":
			open = nil
		case "select":
			f.fields = append(f.fields, field{name: t.attrs["name"], kind: "select"})
			choice = &f.fields[len(f.fields)-1]
		case "/select":
			choice = nil
		case "option":
			if _, selected := t.attrs["selected"]; choice != nil && (selected || choice.value == "") {
				choice.value = t.attrs["value"]
			}
		case "textarea":
			f.fields = append(f.fields, field{name: t.attrs["name"], kind: "textarea"})
		}
	}
}

// input adds an input element.
func (f *pageForm) input(t tag) {
	kind, value := strings.ToLower(t.attrs["type"]), t.attrs["value"]
	switch kind {
	case "submit", "image":
		f.buttons = append(f.buttons, button{name: t.attrs["name"], value: value, text: value})
		return
	case "reset", "button", "file":
		return
	case "checkbox", "radio":
		if _, checked := t.attrs["checked"]; !checked {
			kind += " off"
		}
		if value == "" {
			value = "on"
		}
	}
	f.fields = append(f.fields, field{name: t.attrs["name"], value: value, kind: kind})
}

func tidy(forms []*pageForm) []*pageForm {
	for _, f := range forms {
		for i := range f.buttons {
			f.buttons[i].text = strings.Join(strings.Fields(f.buttons[i].text), " ")
		}
	}
	return forms
}

// words are the buttons that a user who agrees presses.
var words = []string{"allow", "approve", "accept", "authorize", "authorise", "grant", "agree", "confirm", "yes", "continue",
	"sign in", "log in", "login", "signin", "submit"}

// choose finds the form to submit and the button to press: the first of press that a
// page has, else the only button of the first form that a person has to fill in.
func choose(forms []*pageForm, press []string, fields map[string]string) (*pageForm, *button) {
	if len(press) == 0 {
		press = words
	}
	for _, word := range press {
		for _, f := range forms {
			for i := range f.buttons {
				b := &f.buttons[i]
				if strings.EqualFold(b.text, word) || b.value != "" && strings.EqualFold(b.value, word) {
					return f, b
				}
			}
		}
	}
	for _, f := range forms {
		needs := slices.ContainsFunc(f.fields, func(x field) bool { return slices.Contains(visible, x.kind) && fields[x.name] != "" })
		if (needs || len(forms) == 1) && len(f.buttons) < 2 {
			if len(f.buttons) == 1 {
				return f, &f.buttons[0]
			}
			return f, &button{}
		}
	}
	return nil, nil
}
