{# Every given column lies between `least` and `most` (either may be left out), both allowed. #}
{% test in_range(model, columns, least=none, most=none) %}
select {{ columns | join(', ') }}
from {{ model }}
where
    false
    {%- for column in columns %}
    {%- if least is not none %}
    or {{ column }} < {{ least }}
    {%- endif %}
    {%- if most is not none %}
    or {{ column }} > {{ most }}
    {%- endif %}
    {%- endfor %}
{% endtest %}
