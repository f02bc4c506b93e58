{# The given columns (by name, or all whose names start with `prefix`) lie between both bounds, which are allowed. #}
{% test in_range(model, columns=none, prefix=none, min_value=none, max_value=none) %}
select *
from {{ model }}
where
    false
    {%- for column in adapter.get_columns_in_relation(model) | map(attribute='name') %}
    {%- if column in (columns or []) or (prefix and column.startswith(prefix)) %}
    {%- if min_value is not none %}
    or {{ column }} < {{ min_value }}
    {%- endif %}
    {%- if max_value is not none %}
    or {{ column }} > {{ max_value }}
    {%- endif %}
    {%- endif %}
    {%- endfor %}
{% endtest %}
