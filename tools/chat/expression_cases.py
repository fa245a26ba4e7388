"""Small templates that pin the semantics, one idea each."""

COMMON = {
    "s": "Hello World",
    "u": "héllo wörld ☃ 日本 😀",
    "e": "",
    "ws": "  \n\t pad me \n ",
    "n": 42,
    "neg": -7,
    "f": 1.5,
    "yes": True,
    "no": False,
    "nil": None,
    "big": 12345678901234567890,
    "l": [3, 1, 2],
    "ls": ["b", "A", "c"],
    "empty": [],
    "nested": [[1, 2], [3, [4, 5]]],
    "d": {"b": 1, "a": "x", "items": "shadow", "C": None, "deep": {"k": [1, 2, {"end": "yes"}]}},
    "ed": {},
    "people": [
        {"name": "bob", "age": 30, "team": "red"},
        {"name": "Alice", "age": 25, "team": "blue"},
        {"name": "carol", "age": 30, "team": "Red"},
        {"name": "dave", "age": 4},
    ],
    "quotes": "it's \"quoted\" \\ and \n new\ttab \u0007 \u00a0 \u200b",
    "html": "<b>&'\"</b>",
    "lines": "one\ntwo\r\n\nthree\n",
}

EXPRESSIONS = r"""
s
n
f
yes
no
nil
big
l
ls
nested
d
ed
empty
quotes
[quotes]
[u, e]
(1, 2)
(1,)
()
1, 2
[1, 'a', none, true, 1.0]
{'k': 'v', 1: 2, none: true}
{'a': {'b': [1, {'c': 'd'}]}}
1.0
100.0
1e100
1e16
1e15
123456789012345680.0
0.1
0.0001
0.00001
1e-7
1.5e-10
-0.0
1e19
3.14159
2.5e3
1_000
0x1f
0b101
0o17
1 + 2
1 - 2
2 * 3
6 / 2
7 / 2
7 // 2
-7 // 2
7 // -2
7 % 3
-7 % 3
7 % -3
7.5 % 2
-7.5 % 2
7.5 // 2
-7.5 // 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2 ** 0.5
1 / 0
1 // 0
1 % 0
1.0 / 0
1 + 1.5
1 + true
true + true
true * 3
1 + 'a'
'a' + 1
'a' + 'b'
'a' * 3
3 * 'ab'
'a' * -1
'a' - 'b'
[1] + [2]
[1, 2] * 2
(1,) + (2,)
[1] + (2,)
none + 1
nil + 'a'
-n
+n
-'a'
not n
not e
not not e
- - 3
1 < 2 < 3
1 < 3 < 2
3 > 2 > 1
1 == 1.0
true == 1
true == 'true'
1 == '1'
none == false
nil == none
'a' < 'b'
'B' < 'a'
'a' < 1
none < 1
[1, 2] < [1, 3]
[1] < [1, 0]
(1, 2) == (1, 2)
[1, 2] == (1, 2)
{'a': 1, 'b': 2} == {'b': 2, 'a': 1}
1 != 2
1 <= 1
1 >= 2
1 in [1, 2]
true in [1]
'1' in [1]
'ell' in s
'' in s
1 in s
'b' in d
'zz' in d
'b' not in d
nil in [none]
[1] in [[1]]
[1] in d
1 in 5
'a' in none
n and s
e and s
e or s
n or s
nil or no or 'last'
no and missing.x
s and n and e
not s == 'x'
not 'x' in s
1 if yes else 2
1 if no else 2
1 if no
(1 if no) is undefined
'a' if no else 'b' if no else 'c'
'x' ~ 1 ~ none ~ 1.0 ~ true
'x' ~ missing ~ 'y'
1 ~ 2
'a' ~ [1, 'b'] ~ {'k': 1}
1 + 2 ~ 3 + 4
'a' 'b' "c"
'a\nb\t\'\"\\ \x41 \u00e9 \101 \q'
"\U0001F600"
'new
line'
missing
missing is defined
missing is undefined
missing.attr
missing['x']
missing()
missing + 'a'
'a' + missing
missing == missing
missing == none
missing == ''
missing != ''
missing < 1
missing | length
missing | list
missing | string
missing | upper
missing | trim
missing | default('dflt')
missing | tojson
missing | items | list
missing | join(',')
missing | first
missing | int
missing | replace('a', 'b')
[missing]
missing in [1]
1 in missing
missing in missing
missing in s
-missing
missing % 2
missing ~ ''
d.missing
d.missing.more
d['missing']
d.b
d['b']
d.items
d['items']
d.items()
d.items is callable
d.items()|list
d.keys()
d.values()
d.keys()|list
d.values()|list
d.get('a')
d.get('zz')
d.get('zz', 5)
d.get(key='a')
d.get()
d.C
d.C is none
d.deep.k[2].end
d['deep']['k'][0]
d.deep.k[9]
d.deep.k[-1]
d.deep.k.0
d.deep['k'].1
d.pop('a')
d.update({'a': 1})
d.copy()
ed.items()|list
d|length
d|list
d|first
d|last
d|join(',')
d is mapping
d is iterable
d is sequence
d.items() is sequence
d.items()|length
d.items()[0]
s[0]
s[-1]
s[99]
s[1:3]
s[:3]
s[-3:]
s[::2]
s[::-1]
s[3:1]
s[10:1:-2]
s[:]
s[100:]
s['x']
s.missing
s[none:2]
s['a':]
s[::0]
u[1]
u[::-1]
u[6:12]
u|length
u|upper
u|lower
u|title
u|capitalize
u|reverse
u|list
l[0]
l[1:]
l[::-1]
l[-2:]
l[5:]
l[99]
l['x']
l[1.0]
l[true]
l.0
l.append(4)
l.count(1)
l.index(2)
l.index(9)
n[0]
n.foo
nil.foo
nil[0]
nil[:1]
d[:1]
missing[:1]
range(5)
range(5)|list
range(1, 4)|list
range(5, 0, -2)|list
range(0)|list
range(3)[1]
range(3)|length
range(1, 2, 0)
range(200000)
range('a')
range()
range(3) is iterable
s is string
n is string
n is number
yes is number
f is number
n is integer
yes is integer
f is integer
f is float
n is float
yes is boolean
n is boolean
yes is true
no is false
1 is true
nil is none
none is none
nil is not none
l is iterable
s is iterable
n is iterable
l is sequence
s is sequence
l is mapping
4 is even
3 is odd
3 is even
9 is divisibleby 3
9 is divisibleby(2)
'a' is even
'abc' is lower
'ABC' is upper
'aBc' is lower
'' is lower
'1' is upper
1 is eq 1
1 is equalto 1
1 is == 1
1 is ne 2
1 is lt 2
1 is gt 2
1 is ge 1
1 is le 0
1 is in [1, 2]
3 is in([1, 2])
'a' is in 'abc'
nil is sameas none
1 is sameas true
yes is sameas true
s is callable
range is callable
'upper' is filter
'nope' is filter
'odd' is test
missing is none
missing is string
missing is iterable
missing is mapping
missing is sequence
missing is callable
missing is odd
s is defined
s is not defined
not s is defined
s is defined and n is defined
s is string or missing.x
s is not string
x.y is defined
d.x is defined
d.x.y is defined
d is defined and d.b == 1
loop is defined
s is string is string
s|upper
s|lower
s|title
'foo-bar (baz) [qux] <a> {b} _c'|title
"they're bill's"|title
"they're bill's".title()
s|capitalize
s|length
s|count
s|reverse
s|list
s|first
s|last
e|first
e|last
empty|first
empty|last
ws|trim
ws|trim|length
'xxhixx'|trim('x')
'xyhiyx'|trim('xy')
n|trim
nil|trim
s|replace('o', '0')
s|replace('o', '0', 1)
s|replace('', '-')
s|replace('l', '')
n|replace('4', 'x')
s|replace('o')
'aaa'|replace('a', 'b', 2)
lines|indent
lines|indent(2)
lines|indent(2, true)
lines|indent(2, true, true)
lines|indent('> ')
lines|indent(width=3, first=true)
n|indent
html|e
html|escape
html|safe
s|center(20)
s|center(21)
s|center(3)
s|wordcount
l|join
l|join(', ')
l|join(' - ')
nested|join('|')
people|join(', ', attribute='name')
people|join(', ', 'name')
s|join('.')
n|join
l|sort
l|sort(reverse=true)
l|sort(true)
ls|sort
ls|sort(case_sensitive=true)
people|sort(attribute='age')|map(attribute='name')|list
people|sort(attribute='age,name')|map(attribute='name')|list
people|sort(attribute='name')|map(attribute='name')|join(' ')
people|sort(attribute='age', reverse=true)|map(attribute='name')|join(' ')
[1, 'a']|sort
[[2, 'b'], [1, 'c']]|sort
l|min
l|max
ls|min
ls|max
empty|min
people|max(attribute='age')
l|sum
people|sum(attribute='age')
[1.5, 2]|sum
l|sum(start=10)
ls|sum
empty|sum
l|reverse|list
l|list|length
l|length
n|length
nil|length
yes|length
[1, 1, 2, 'a', 'A']|unique|list
[1, 1, 2, 'a', 'A']|unique(case_sensitive=true)|list
people|map(attribute='age')|unique|list
people|map(attribute='name')|map('upper')|list
people|map(attribute='missing')|list
people|map(attribute='team', default='none')|list
people|map(attribute='name.0')|list
people|map('length')|list
ls|map('upper')|join
ls|map('replace', 'A', 'z')|join
ls|map('nofilter')|list
l|map
l|select|list
[0, 1, none, 'a', '', []]|select|list
[0, 1, none, 'a', '', []]|reject|list
l|select('odd')|list
l|reject('odd')|list
l|select('equalto', 2)|list
l|reject('equalto', 2)|list
l|select('>', 1)|list
l|select('gt', 1)|list
l|select('in', [1, 2])|list
people|selectattr('team')|map(attribute='name')|list
people|selectattr('team', 'defined')|map(attribute='name')|list
people|rejectattr('team')|map(attribute='name')|list
people|selectattr('age', '==', 30)|map(attribute='name')|list
people|selectattr('age', 'lt', 30)|map(attribute='name')|list
people|rejectattr('age', 'lt', 30)|list|length
l|select('divisibleby', 3)|list
l|map('string')|list
l|map('string')|length
(l|map('string'))[0]
l|batch(2)|list
l|batch(2, 'x')|list
l|slice(2)|list
[1, 2, 3, 4, 5, 6, 7]|slice(3)|list
[1, 2, 3, 4, 5, 6, 7]|slice(3, 'x')|list
d|items|list
n|items|list
l|items|list
s|items|list
d|dictsort
{'b': 1, 'A': 2, 'c': 0}|dictsort
{'b': 1, 'A': 2, 'c': 0}|dictsort(true)
{'b': 1, 'A': 2, 'c': 0}|dictsort(by='value')
{'b': 1, 'A': 2, 'c': 0}|dictsort(false, 'value', true)
{'b': 1}|dictsort(by='x')
l|dictsort
people|groupby('age')|list|length
people|groupby('team', default='zz')|map(attribute='grouper')|list
people|groupby('age')|map('first')|list
(people|groupby('age'))[0].list[0].name
(people|groupby('age'))[1]|last|map(attribute='name')|list
-5|abs
(-5)|abs
(-1.5)|abs
'a'|abs
'42'|int
'42.9'|int
' 7 '|int
'x'|int
'x'|int(5)
'x'|int(default=none)
'ff'|int(base=16)
'0x1f'|int(0, 16)
1.9|int
-1.9|int
nil|int
true|int
'1_000'|int
[]|int
'1.5'|float
'x'|float
'x'|float(2.5)
3|float
'1e3'|float
'inf'|float
2.5|round
3.5|round
1.25|round(1)
1.35|round(1)
2.675|round(2)
42|round
1.1|round(0, 'ceil')
1.9|round(0, 'floor')
1.55|round(1, 'floor')
1234|round(-2)
'a'|round
s|default('x')
e|default('x')
e|default('x', true)
nil|default('x')
nil|d('x', true)
d.zz|default
d.zz|default(default_value='k')
s|string
n|string
nil|string
l|string
n|string|length
d|attr('a')
s|attr('upper') is callable
s|tojson
u|tojson
u|tojson(ensure_ascii=true)
quotes|tojson
n|tojson
big|tojson
f|tojson
yes|tojson
nil|tojson
l|tojson
d|tojson
(1, 2)|tojson
ed|tojson
empty|tojson
html|tojson
'a/b</script>'|tojson
1e16|tojson
1e-7|tojson
d|tojson(indent=2)
d|tojson(indent=4)
nested|tojson(indent=1)
d|tojson(indent='--')
d|tojson(indent=0)
d|tojson(indent=none)
empty|tojson(indent=2)
[{}, []]|tojson(indent=2)
d|tojson(separators=(',', ':'))
d|tojson(separators=[', ', ' = '])
d|tojson(sort_keys=true)
{'b': 1, 'a': [2]}|tojson(sort_keys=true, indent=2)
{1: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson
{(1, 2): 'a'}|tojson
range|tojson
d.items()|tojson
[missing]|tojson
'%s is %d years'|format('Bob', 42)
'%(a)s-%(b)s'|format(a=1, b=2)
'%s' % 'x'
'%s %s' % ('a', 1)
'%d' % 3.7
'%5d|%-5d|%05d|%+d' % (1, 2, 3, 4)
'%.2f' % 3.14159
'%8.3f|' % 2.5
'%e' % 12345.678
'%g' % 0.00001
'%x %X %o' % (255, 255, 8)
'%#x' % 255
'%r' % 'q'
'%s' % [1, 'a']
'%s%%' % 5
'%5s|%-5s|' % ('ab', 'cd')
'%.2s' % 'abcdef'
'%c' % 65
'%s' % missing
'%s %s' % ('a',)
'%s' % ('a', 'b')
'%d' % 'x'
'%(a)s' % d
'%(zz)s' % d
'no args' % ()
'no args' % 1
'%*d' % (5, 1)
'%q' % 1
'{} and {}'.format('a', 1)
'{0}{1}{0}'.format('a', 'b')
'{x}'.format(x=5)
'{{}}'.format()
'{}'.format()
s.upper()
s.lower()
s.title()
s.capitalize()
s.swapcase()
s.casefold()
ws.strip()
ws.lstrip()
ws.rstrip()
'xxhixx'.strip('x')
'xxhixx'.lstrip('x')
'xxhixx'.rstrip('x')
'</think>\n\nok'.lstrip('\n')
s.strip(none)
s.strip(1)
s.split()
s.split('o')
s.split('o', 1)
s.split('zz')
s.split('')
s.split(none, 1)
s.split(sep='o')
s.split('o', maxsplit=1)
' a  b '.split()
' a  b '.split(' ')
' a  b c '.split(none, 1)
' a  b c '.rsplit(none, 1)
'a,b,c'.rsplit(',', 1)
'a,b,c'.rsplit(',')
e.split()
e.split(',')
'a</think>b</think>c'.split('</think>')[-1]
'a</think>b'.split('</think>')[0].split('<think>')[-1]
lines.splitlines()
lines.splitlines(true)
s.startswith('Hell')
s.startswith('hell')
s.startswith(('x', 'He'))
s.startswith('World', 6)
s.startswith('')
s.startswith(1)
s.endswith('World')
s.endswith('Worl', 0, -1)
s.endswith(('x', 'd'))
s.replace('o', '0')
s.replace('o', '0', 1)
s.replace('o', 1)
s.find('o')
s.find('o', 5)
s.find('zz')
s.rfind('o')
s.index('W')
s.index('zz')
u.find('☃')
u.index('日')
u.rfind('l')
s.count('o')
s.count('')
s.count('o', 5)
', '.join(ls)
', '.join(l)
'-'.join('abc')
''.join([])
'5'.zfill(3)
'-5'.zfill(4)
'a'.center(5)
'a'.center(4, '*')
'a'.ljust(3) ~ '|'
'a'.rjust(3, '.')
'a=b=c'.partition('=')
'a=b=c'.rpartition('=')
'abc'.partition('=')
'abc'.removeprefix('a')
'abc'.removesuffix('c')
'abc'.removesuffix('x')
'123'.isdigit()
'12a'.isdigit()
''.isdigit()
'abc'.isalpha()
'ab1'.isalnum()
' '.isspace()
'abc'.islower()
'ABC'.isupper()
'abc'.upper().lower().title()
s.upper
s.upper is callable
namespace(a=1).a
namespace(a=1)
namespace({'x': 1}, y=2)
namespace().missing
namespace(a=1)['a']
dict(a=1, b='x')
dict({'a': 1}, b=2)
dict([('a', 1), ('b', 2)])
dict([1])
strftime_now('%d %b %Y')
strftime_now('%Y-%m-%d %H:%M:%S')
strftime_now('%A %B %a %j %y %p %I %M %% %e')
strftime_now('%-d/%-m %F %T %D %R %U %W %u %w')
raise_exception('boom')
raise_exception()
[1, 2,]
{'a': 1,}
(1, 2,)
[]
{}
[[], {}, ()]
{'a': 1}.a
{'a': 1}['a']
{'a': 1, 'a': 2}
{[1]: 2}
'abc'[1]
'abc'.upper()[0]
(1, 2)[0]
[1, [2, 3]][1][0]
d.deep.k|length > 2 and d.b == 1
(l|length - 1) - 0
l|length - 1
l|length == 3
s|length * 2
n * 2 + 1
(n + 1) * 2
n|string + 'x'
'x' + n|string
s.split('o')|length
s|upper|lower|title
s|upper ~ n
not s|upper == 'HELLO WORLD'
s == 'Hello World' and n == 42 or no
l[0] == 3 and l[-1] == 2
loop
varargs
caller
True
False
None
true and True
none is None
1 < 2 == true
2 in [1, 2] == true
'a' in d and d['a'] == 'x'
d.deep.k[2]['end']|upper
1 is not odd
1 is odd and 2 is even
3 is divisibleby 3 and true
n is gt 3 and n is lt 100
(n is gt 3) ~ ''
n is defined ~ 'x'
[1, 2, 3][::-1][0]
[1, 2, 3][1:][0]
[1, 2, 3][:-1]
(1, 2, 3)[::-1]
'%s' | format(none)
people[0].name[0]|upper
people[1]['age'] + 1
people|length
people|list|last|tojson
people[0]|tojson
people[::-1]|map(attribute='name')|list
people[0] == people[0]
people[0] is sameas people[0]
'a' is eq('a')
x if x is defined else 'undef'
d.b if d.b is number else 0
(d|items|list)[0][0]
big + 1
big * big
9223372036854775807 + 1
-9223372036854775808
1.0 == 1
1.0 is integer
1e3|int
10 ** 18
10 ** 20
1.5 * 2
3 * 0.1
1 / 3
2 / 3 * 3
100 * 1.1
5 // 0.3
1e308 * 10
0.1 + 0.2
1.0 // 0
7 // 2 * 2 + 7 % 2
true + 1.5
not 1 + 1
- n ** 2
1 if yes
l if l
yes is true and no is false
yes is sameas(true)
cycler('a', 'b').next()
cycler()
joiner()() ~ 'x'
lipsum
d is not mapping
d['deep'] is mapping
d.deep is iterable and d.deep is not string
u.split(' ')[2]
u.upper()
u[-1]|length
u.replace('ö', 'o')
u.strip('hé😀')
u.center(30, '☃')
'ß'.upper()
'ÀÉÎ'|lower
'Привет'|upper
'ΑΒΓ'|lower
"\u00a0x\u2003".strip()
"\u00a0x\u2003"|trim|length
"\u200bx"|trim|length
"a\u2028b\x0bc\x1cd".splitlines()
['\u00a0', '\u200b', '\x7f', 'é']
"'"
["'"]
['"']
['\'"']
1.__class__
''.__class__
''['__class__']
d.__class__
d._x
s|nofilter
s is notest
nofunction()
s.nomethod()
s|upper(1)
s|default('a', 'b', 'c')
s|trim(x=1)
(
1 +
1 2
'unclosed
a b
{1: 2
[1, 2
{'a'}
}
1 = 2
x.
x[
x[]
x|
x is
f(a=1, 2)
not
1 not 2
@
$
a ? b : c
`x`
0777
1.
.5
1__0
"""

STATEMENTS = r"""
{% if n %}a{% else %}b{% endif %}
{% if e %}a{% elif n %}b{% else %}c{% endif %}
{% if e %}a{% elif nil %}b{% else %}c{% endif %}
{% if n > 40 and s is string %}ok{% endif %}
{% if 1, 2 %}tuple{% endif %}
{% if n: %}colon{% endif %}
{% if %}{% endif %}
{% if n %}
{% endif %}
{% else %}
{% unknown %}
{% if n %}{% for %}{% endif %}
{% for x in l %}{{ x }},{% endfor %}
{% for x in l -%} {{ x }} {%- endfor %}
{% for x in empty %}{{ x }}{% else %}none{% endfor %}
{% for x in l %}{{ x }}{% else %}none{% endfor %}
{% for x in missing %}{{ x }}{% else %}undef{% endfor %}
{% for x in nil %}{{ x }}{% endfor %}
{% for x in n %}{{ x }}{% endfor %}
{% for x in s %}{{ x }}.{% endfor %}
{% for k in d %}{{ k }};{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}
{% for (a, b) in nested %}{{ a }}-{{ b }};{% endfor %}
{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for a, b in l %}{{ a }}{% endfor %}
{% for a, b in ['xy', 'zw'] %}{{ a }}+{{ b }} {% endfor %}
{% for x in 1, 2, 3 %}{{ x }}{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}
{% for x in l if x > 9 %}{{ x }}{% else %}filtered{% endfor %}
{% for x in l if loop.first %}{{ x }}{% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}
{% for x in l %}{% if loop.previtem is defined %}p{% endif %}{% if loop.nextitem is defined %}n{% endif %};{% endfor %}
{% for x in l %}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }} {% endfor %}
{% for x in l %}{{ loop.nothing }}{% endfor %}
{% for x in l %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}
{% for x in l %}{% for y in ls %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}
{% for x in nested recursive %}[{% if x is number %}{{ x }}{% else %}{{ loop(x) }}{% endif %}]{% endfor %}
{% for x in nested recursive %}{{ loop.depth }}{% if x is iterable %}({{ loop(x) }}){% endif %}{% endfor %}
{% for x in l %}{{ loop(l) }}{% endfor %}
{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}after
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}after
{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %};{% endfor %}
{% break %}
{% continue %}
{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in l %}{% set v = x %}{% endfor %}{{ v is defined }}
{% set v = 0 %}{% for x in l %}{% set v = v + x %}{{ v }} {% endfor %}{{ v }}
{% set v = 1 %}{% if yes %}{% set v = 2 %}{% endif %}{{ v }}
{% if no %}{% set s = 'changed' %}{% endif %}{{ s }}
{% if yes %}{% set s = 'changed' %}{% endif %}{{ s }}
{% set s = s ~ '!' %}{{ s }}
{% set ns = namespace(v=0) %}{% for x in l %}{% set ns.v = ns.v + x %}{% endfor %}{{ ns.v }}
{% set ns = namespace() %}{% set ns.x = 1 %}{{ ns.x }}{{ ns.y is defined }}
{% set ns = namespace(found=false) %}{% for x in l %}{% if x == 1 %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.found }}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}
{% set a, b = [1, 2] %}{{ a }}{{ b }}
{% set a, b = 1 %}
{% set a, b = 1, 2, 3 %}
{% set (a, b) = 'xy' %}{{ a }}{{ b }}
{% set t = 1, 2 %}{{ t }}
{% set x %}block {{ n }}{% endset %}{{ x }}|{{ x|length }}
{% set x | upper %}block {{ n }}{% endset %}{{ x }}
{% set x | replace('b', 'c') | upper %}block{% endset %}{{ x }}
{% set y = 1 %}{% set x %}{% set y = 2 %}{{ y }}{% endset %}{{ x }}{{ y }}
{% set true = 1 %}
{% set none = 1 %}
{% set 1 = 2 %}
{% set x = %}
{% for loop in l %}{% endfor %}
{% for x in l %}{% set loop = 1 %}{% endfor %}
{% set loop = 7 %}{{ loop }}
{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }}
{% macro m(a, b=a) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }}
{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}{{ m(1) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x=2) }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}
{% macro m(a) %}{{ a }}{{ varargs|length }}{% endmacro %}{{ m(1, 2, 3) }}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m() %}x{% endmacro %}{{ m()|upper }}{{ m() ~ 'y' }}{{ m() is string }}
{% macro m() %}{{ s }}{% endmacro %}{{ m() }}
{% macro m() %}{{ v }}{% endmacro %}{% set v = 'later' %}{{ m() }}
{% macro m() %}{{ x }}{% endmacro %}{% for x in l %}{{ m() }}{% endfor %}
{% macro m() %}{% set s = 'in' %}{{ s }}{% endmacro %}{{ m() }}{{ s }}
{% macro fact(k) %}{% if k < 2 %}1{% else %}{{ k * (fact(k - 1)|int) }}{% endif %}{% endmacro %}{{ fact(5) }}
{% macro tree(x) %}{% if x is sequence and x is not string %}({% for y in x %}{{ tree(y) }}{% endfor %}){% else %}{{ x }}{% endif %}{% endmacro %}{{ tree(nested) }}
{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body {{ n }}{% endcall %}
{% macro m(xs) %}{% for x in xs %}{{ caller(x) }};{% endfor %}{% endmacro %}{% call(x) m(l) %}{{ x * 2 }}{% endcall %}
{% macro m() %}x{% endmacro %}{% call m() %}b{% endcall %}
{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}
{% call n %}{% endcall %}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(*[1]) }}{{ m(**{'a': 2}) }}
{% macro m() %}{{ m.name }}{% endmacro %}{{ m.name }}
{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}
{% filter upper %}abc {{ s }}{% endfilter %}
{% filter replace('a', 'b')|upper %}abc{% endfilter %}
{% filter trim %}  x  {% endfilter %}|
{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}
{% generation %}gen {{ n }}{% endgeneration %}
{% generation %}{% set s = 1 %}{% endgeneration %}{{ s }}
{% raw %}{{ not }} {% parsed %}{% endraw %}
{%- raw -%}  x  {%- endraw -%} y
{% raw %}
 x
{% endraw %}
 y
{% raw %}never
{# comment #}x
a{# multi
line #}b
{#- c -#} x
{# unclosed
{% print n %}
{% print n, 1 %}
{% do x %}
{% include 'x' %}
{% extends 'x' %}
{% import 'x' as y %}
{% if n %}{{ n }}{% endif %}}}
{{ n }
{{ n
{% if n
}}
%}
{{ '}}' }}
{{ '%}' }}
{{ {'a': {'b': 1}}['a']['b'] }}
{{ {'a': {'b': 1}} }}
{{ {} }}
{{}}
{{ }}
{% set x = '{{ no }}' %}{{ x }}
{%+ if n %}a{%+ endif %}
{%- if n -%} a {%- endif -%}
{{- n -}}
x {{- n -}} y
x {{+ n }} y
x {%- if n %} a {% endif -%} y
{% for k, v in {'a': 1}.items() if v %}{{ k }}{% endfor %}
{% for m in people|selectattr('age', 'ge', 30) %}{{ m.name }} {{ loop.last }};{% endfor %}
{% set g = l|map('string') %}{{ g|list }}{{ g|list }}
{% set r = l|reverse %}{{ r|first }}{{ r|list }}
{% for x in l|reverse %}{{ x }}{{ loop.length }}{% endfor %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}
{% set j = joiner() %}{{ j() }}{{ j() }}
{% set x = range(3) %}{% for i in x %}{{ i }}{% endfor %}
{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}
{% if d is mapping and 'b' in d %}{{ d['b'] }}{% endif %}
{% if people[0].team is defined and people[0].team %}{{ people[0].team }}{% endif %}
{% if people[3].team is defined and people[3].team %}{{ people[3].team }}{% else %}no team{% endif %}
{% if people[9] is defined %}a{% else %}b{% endif %}
{% if not (people and people[0].name == 'x') %}ok{% endif %}
{% set people = people[1:] %}{{ people[0].name }}
{% for p in people %}{% set p = p.name %}{{ p }} {% endfor %}
{% for p in people %}{% if p.team %}{% set t = p.team %}{% endif %}{{ t }};{% endfor %}
{% set x = none %}{% if x is not none %}a{% else %}b{% endif %}
{% if tools is not defined %}{% set tools = none %}{% endif %}{{ tools }}
{% if not tools is defined %}{% set tools = 'd' %}{% endif %}{{ tools }}
{% if s is defined and s is not none %}{% set v = s|trim %}{% else %}{% set v = '' %}{% endif %}{{ v }}
{{ raise_exception('no ' ~ n) }}
{% if no %}{{ raise_exception('x') }}{% endif %}fine
{% if no %}{{ missing.x.y }}{% endif %}fine
{% for x in l %}{{ x if x > 1 else '-' }}{% endfor %}
{% for x in l %}{{ ', ' if not loop.first }}{{ x }}{% endfor %}
{% for x in l %}{{ ', ' if not loop.last else '.' }}{% endfor %}
{% for i in range(2) %}{% for j in range(2) %}{{ i }}{{ j }}{{ loop.first }} {% endfor %}{% endfor %}
{% set ns = namespace(items=[]) %}{% for x in l %}{% set ns.items = ns.items + [x * 2] %}{% endfor %}{{ ns.items }}
{% set ns = namespace(a=namespace(b=1)) %}{{ ns.a.b }}
{% set x = {'a': 1} %}{% set y = dict(x, b=2) %}{{ y }}{{ x }}
{% set f = s.upper %}{{ f() }}
{% set x = [] %}{% set _ = x.append(1) %}{{ x }}
{% if 'a' in d %}{% if 'zz' in d %}1{% else %}2{% endif %}{% endif %}
{{ loop.index }}
{% for x in l %}{% endfor %}{{ loop is defined }}
{% macro m() %}{{ loop is defined }}{% endmacro %}{{ m() }}
{% for x in l %}{{ loop }}{% break %}{% endfor %}
{%if n%}tight{%endif%}
{%-if n-%}tight{%-endif-%}
{{n}}{{s}}
{% if n == 42 %}{# c #}x{% endif %}
{% set x = (1, 2, 3) %}{{ x[0] }}{{ x|length }}{{ x }}
{% set x = 'a' if yes else 'b' %}{{ x }}
{% set x = yes and 'a' or 'b' %}{{ x }}
{% set x = l|first %}{{ x }}
{{ 'a' if n else }}
{% for x in [] %}{% else %}{% for y in l %}{{ y }}{% endfor %}{% endfor %}
{% for x in l %}{% if loop.index == 2 %}{{ x }}{% endif %}{% endfor %}
{% for k in d|dictsort %}{{ k[0] }}{% endfor %}
{% for key, value in d|dictsort %}{{ key }}:{{ value }};{% endfor %}
{% for g in people|groupby('age') %}{{ g.grouper }}:{{ g.list|length }};{% endfor %}
{% for g, ps in people|groupby('age') %}{{ g }}:{{ ps|map(attribute='name')|join(',') }};{% endfor %}
{% for row in l|batch(2) %}{{ row }}{% endfor %}
{% set x = 5 %}{% macro m(x) %}{{ x }}{% endmacro %}{{ m(6) }}{{ x }}
{% macro outer() %}{% macro inner() %}I{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}
{% macro m(x) %}{% if x %}{% set y = 1 %}{% endif %}{{ y is defined }}{% endmacro %}{{ m(1) }}{{ m(0) }}
{% set x = 1 %}{% for i in l %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}
{% for i in l %}{% if loop.first %}{% set acc = i %}{% else %}{% set acc = acc %}{% endif %}{{ acc }};{% endfor %}
{% set m = 1 %}{{ m() }}
"""

# White space control needs line ends, so these are spelled out.
LAYOUTS = [
    "a\n{% if n %}\nb\n{% endif %}\nc\n",
    "a\n  {% if n %}\n  b\n  {% endif %}\n  c",
    "a\n\t{% if n %}\n\tb\n\t{%- endif %}\n c",
    "a\n  {%+ if n %}\n  b\n  {% endif +%}\n  c",
    "a\n  {%- if n -%}\n  b\n  {%- endif -%}\n  c",
    "a\n  {{ n }}\n  b",
    "a\n  {{- n }}\n  b",
    "a\n  {{ n -}}\n  b",
    "a\n  {# c #}\n  b",
    "a\n  {#- c -#}\n  b",
    "a\n  {#+ c +#}\n  b",
    "  {% if n %}x{% endif %}",
    "  x {% if n %} y {% endif %}\n z",
    "x\n\n\n{% if n %}\n\n\ny{% endif %}\n\n\n",
    "x\n\n\n{%- if n %}\n\n\ny{%- endif %}\n\n\n",
    "{{ n }}\n{{ n }}\n",
    "{{ n }}\n\n",
    "\n",
    "\n\n",
    "",
    "x\r\n{% if n %}\r\ny\r\n{% endif %}\r\nz\r\n",
    "x\ry",
    "a \u00a0{%- if n %} b{% endif %}",
    "a\n\u00a0 {% if n %} b{% endif %}",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\n",
    "{% for x in l %}\n  {{ x }}\n  {%- endfor %}\n",
    "{%- for x in l %}\n  {{- x }}\n  {%- endfor -%}\n end",
    "{% if n %}   \n x{% endif %}",
    "{% set x = 1 %}\n\n{% set y = 2 %}\nz",
    "   {% set x = 1 %}   {% set y = 2 %}   z",
    "\n   {% set x = 1 %}   {% set y = 2 %}   z",
    "{% raw %}\n  {{ x }}\n{% endraw %}\nend",
    "  {% raw %} x {% endraw %}\n  end",
    "{%- raw -%}\n  x\n{%- endraw -%}\n  end",
    "{% raw -%}\n  x\n  {%+ endraw +%}\n  end",
    "{# a #}\n{# b #}\n\nc",
    "{# a #}  {# b #}\nc",
    "x{# a -#}   \n   y",
    "x   \n  {#- a #}   \n   y",
    "{{ '{{' }}{{ '}}' }}{{ '{%' }}",
    "{{ \"a\nb\" }}",
    "a {% if n -%}\n\n b {%- else -%} c {%- endif %} d",
    "{% macro m() %}\n  body\n{% endmacro %}\n[{{ m() }}]",
    "{% macro m() -%}\n  body\n{%- endmacro %}\n[{{ m() }}]",
    "{% set x %}\n  body\n{% endset %}\n[{{ x }}]",
    "{% filter upper %}\n  body\n{% endfilter %}\n.",
    "{%  if   n  %}x{%  endif  %}",
    "{%\nif n\n%}x{%\nendif\n%}",
    "{{\nn\n}}",
    "{{ n }} {{ s }}\n {{ n }}",
    "{ {{ n }} } { % # }",
    "{{n}}}",
    "{ {n} }",
    "a { b } c % d #",
    "{%- if n %}{{- 'a\\n' }}{%- endif %}\n",
    "line1\n{%- if yes %}\nline2\n{%- endif %}\nline3",
    "{{ n\n+\n1 }}",
    "{#}#}x",
    "{#-#}x",
    "a\n   {#-#}   \nb",
    "<|im_start|>{{ s }}<|im_end|>\n{% if n %}\n<|x|>\n{% endif %}\n",
    "{% for x in l -%}\n    {{ x }}\n    {%- if not loop.last %}, {% endif -%}\n{% endfor %}\n!",
    "{{ '\\n' }}{% if n %}\n{{ '\\n' }}{% endif %}\n",
    "{%- set x = namespace(a=1) -%}   \n\n {{ x.a }}",
    "{% if n %}{{ u }}{% endif %}☃\n  {% if n %}é{% endif %}",
]

EXTRA = [
    ("{{ x }}", {"x": 1e22}),
    ("{{ x }}", {"x": 5e-324}),
    ("{{ x }}", {"x": 1.7976931348623157e308}),
    ("{{ x|tojson }}", {"x": [1.0, 1e5, 123456.789, 1e-5, -0.0]}),
    ("{{ x|tojson }}", {"x": {"z": 1, "a": {"y": [], "b": {}}, "m": "é\u2028\u007f"}}),
    ("{{ x|tojson(indent=4) }}", {"x": [{"type": "function", "function": {"name": "f", "parameters": {"required": []}}}]}),
    ("{{ x }}", {"x": 18446744073709551615}),
    ("{{ x + 1 }}", {"x": 18446744073709551615}),
    ("{{ x }}", {"x": -9223372036854775808}),
    ("{{ x|tojson }}", {"x": -9223372036854775808}),
    ("{% for m in messages %}{{ m.role }}{% endfor %}", {"messages": []}),
    ("{{ messages[0].role }}", {"messages": []}),
    ("{{ messages[0]['role'] }}", {"messages": []}),
    ("{{ messages[-1].content[-1] }}", {"messages": [{"content": "é☃"}]}),
    ("{{ range }}", {"range": "shadowed"}),
    ("{{ namespace }}{{ loop }}", {"namespace": 1, "loop": 2}),
    ("{% for x in l %}{{ loop.index }}{% endfor %}{{ loop }}", {"loop": "mine"}),
    ("{% macro m() %}{{ v }}{% endmacro %}{{ m() }}", {"v": "context"}),
    ("{{ d.keys }}", {"d": {"keys": 1}, "unused": 0}),
    ("{{ d['keys'] }}", {"d": {"keys": 1}}),
    ("{{ d.get }}", {"d": {"x": 1}, "y": 2}),
    ("{{ d.name }}", {"d": {"name": "n", "x": 1}}),
    ("{{ d.x.y.z }}", {"d": {"x": {"y": {"z": "deep"}}}}),
    ("{{ content }}", {"content": "{{ n }} {% if %}"}),
    ("{{ content|trim }}", {"content": "\u3000 x \u3000"}),
]


def cases():
    seen = set()
    for line in expressions():
        if line not in seen:
            seen.add(line)
            yield "{{ " + line + " }}", None
    for line in STATEMENTS.strip("\n").split("\n{"):
        yield line if line.startswith("{") else "{" + line, None
    for layout in LAYOUTS:
        yield layout, None
    yield from EXTRA


def expressions():
    """Lines; a string literal may hold a line break."""
    pending = ""
    for line in EXPRESSIONS.strip("\n").split("\n"):
        pending = pending + "\n" + line if pending else line
        if pending == "'new":
            continue
        yield pending
        pending = ""
