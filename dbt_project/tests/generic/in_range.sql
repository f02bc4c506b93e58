{# The given columns (by name, or all whose names start with `prefix`) lie between both bounds, which are allowed. #}
{% test in_range(model, columns=none, prefix=none, min_value=none, max_value=none) %}
{%- if prefix and execute %}
{%- set columns = adapter.get_columns_in_relation(model) | map(attribute='name') | select('match', prefix) | list %}
{%- endif %}
select *
from {{ model }}
where
    false
    {%- for column in columns or [] %}
    {%- if min_value is not none %}
    or {{ column }} < {{ min_value }}
    {%- endif %}
    {%- if max_value is not none %}
    or {{ column }} > {{ max_value }}
    {%- endif %}
    {%- endfor %}
{% endtest %}
